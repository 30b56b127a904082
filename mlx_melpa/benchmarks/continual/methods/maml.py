"""Continual MAML: each step takes a fast step on the new task, and the gradient of all tasks after it."""

from ....core import inner_loop
from ....core.protocols import Components
from ....core.types import Array, Tree
from .method import WeightedBatches
from .replay import Replay


class Maml(Replay):
    """w' = U(w, grad L_i(w)),  w <- U(w, grad (L_i + M_j)(w') / 2),  j < i drawn anew for each step.

    C-MAML of Gupta et al. 2020 in first order: the gradient at the fast row w' is used for the slow row w. M_j is the
    loss on the stored examples of task j, as in `replay`. U is the initialization's rule; the fast step is its first,
    with a new state, so that no other rate needs tuning. The paper takes several fast steps, on parts of the new batch;
    here one, on all of it. Per-parameter rates as in La-MAML need a meta-learned rule. A step costs one more gradient
    of the new task than a step of `replay`.
    """

    def gradient(self, components: Components, k: int, at: Tree, batches: WeightedBatches) -> Array:
        """The gradient (1, own) of all batches at the fast row."""
        begun = {**at, "memory": components.rule.begin(at["rows"])}
        new_task = super().gradient(components, k, at, of_new_task(batches))
        fast = inner_loop.move(components, self.start.theta, 0, begun, new_task)
        self.ops.evaluate(fast["rows"])
        return super().gradient(components, k, {**at, "rows": fast["rows"]}, batches)


def of_new_task(batches: WeightedBatches) -> WeightedBatches:
    """The batch of the new task alone."""
    return ((1.0, batches[0][1]),)
