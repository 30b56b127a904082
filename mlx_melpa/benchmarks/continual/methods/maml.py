"""MAML, continual: each step looks one ahead on the new task, and learns from what that does to all tasks."""

from ....core import inner_loop as adapt
from ....core.bounds import Count
from ....core.protocols import Parts
from ....core.types import Array, Tree
from .method import Start, Weighted
from .replay import Replay


class Maml(Replay):
    """w' = U(w, grad L_i(w)),  w <- U(w, grad (L_i + M_j)(w') / 2),  j < i drawn anew for each step.

    C-MAML of Gupta et al. 2020 in first order: the gradient at the fast row w' is taken for that of the slow row w. M_j
    is the loss on what is stored of task j, as in `replay`. U is the start's rule: the fast step is its first, with
    fresh memory, so that no other rate is to be tuned. The paper takes several fast steps, on parts of the new batch;
    here one, on the whole. La-MAML's rates for each number are a meta-learned rule's to bring. A step costs one more
    gradient of the new task than a step of `replay`.
    """

    def gradient(self, parts: Parts, k: int, at: Tree, batches: Weighted) -> Array:
        """The gradient (1, own) of all batches at the fast row."""
        own, _ = adapt.cut(parts, at["rows"])
        fresh = {**at, "memory": parts.rule.begin(own)}
        fast = adapt.move(parts, self.start.theta, 0, fresh, super().gradient(parts, k, at, new(batches)))
        parts.ops.evaluate(fast["rows"])
        return super().gradient(parts, k, {**at, "rows": fast["rows"]}, batches)


def new(batches: Weighted) -> Weighted:
    """The new task's batch alone."""
    return ((1.0, batches[0][1]),)


def maml(start: Start, *, steps: int, seed: int, tasks: int, buffer: Count = 50) -> Maml:
    """Builds continual MAML with `buffer` stored examples a task."""
    return Maml(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer)
