"""OML: upper weights take fast steps on the new task alone, lower weights slow steps on all tasks after them."""

import numpy as np

from ....core import inner_loop
from ....core.layout import Layout
from ....core.protocols import Components
from ....core.types import Array, Tree
from .maml import of_new_task
from .method import Initialization, WeightedBatches
from .replay import Replay


class Oml(Replay):
    """W' = U(W, grad_W L_i(S, W)),  S <- U(S, grad_S (L_i + M_j)(S, W') / 2),  W <- W',  j < i drawn for each step.

    Javed and White 2019 in first order. They learn the representation S before deployment, from W's steps along whole
    streams, and W alone afterwards. Here both change in each step, and W takes one step. A language model has no
    prediction network of its own: the fast numbers W are the upper half of the adapter's weights and the readout's, the
    slow ones S the lower half; of a latent code all are fast. M_j is the loss on the stored examples of task j, as in
    `replay`; U is the initialization's rule. A step costs one more gradient of the new task than a step of `replay`.
    """

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int, buffer: int = 50):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer)
        self.fast = self.ops.array(fast_mask(start.layout))

    def gradient(self, components: Components, k: int, at: Tree, batches: WeightedBatches) -> Array:
        """The new task's gradient for the fast numbers; for the slow ones that of all batches after the fast step."""
        theta, now = self.start.theta, super().gradient(components, k, at, of_new_task(batches))
        rows = at["rows"]
        moved = inner_loop.move(components, theta, k, at, now)["rows"]
        ahead = rows + self.fast * (moved - rows)
        self.ops.evaluate(ahead)
        later = super().gradient(components, k, {**at, "rows": ahead}, batches)
        return self.fast * now + (1 - self.fast) * later


def fast_mask(layout: Layout) -> np.ndarray:
    """1 for the numbers (own,) of the upper half of an adapter's weights, and for those of no block, else 0."""
    adapter = [segment for segment in layout.segments if segment.block is not None]
    slow = set(adapter[: len(adapter) // 2])
    return np.concatenate([np.full(segment.size, segment not in slow, np.float32) for segment in layout.segments])
