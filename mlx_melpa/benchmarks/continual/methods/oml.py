"""OML: the upper weights learn fast, on the new task alone; the lower ones slowly, so that this harms no task."""

import numpy as np

from ....core import inner_loop as adapt
from ....core.bounds import Count
from ....core.layout import Layout
from ....core.protocols import Parts
from ....core.types import Array, Tree
from .maml import new
from .method import Start, Weighted
from .replay import Replay


class Oml(Replay):
    """W' = U(W, grad_W L_i(S, W)),  S <- U(S, grad_S (L_i + M_j)(S, W') / 2),  W <- W',  j < i drawn for each step.

    Javed and White 2019 in first order. They learn the representation S before deployment, from W's walks along whole
    streams, and W alone afterwards; here both move in each step, as the stream comes, and W's walk is that one step. A
    language model has no prediction network of its own: the fast numbers W are the upper half of the adapter's weights
    and the readout's, the slow ones S the lower half; of a row that is a code all are fast. M_j is the loss on what is
    stored of task j, as in `replay`; U is the start's rule. A step costs one more gradient of the new task than a step
    of `replay`.
    """

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, buffer: int):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer)
        self.fast = self.ops.array(upper(start.layout.personal))

    def gradient(self, parts: Parts, k: int, at: Tree, batches: Weighted) -> Array:
        """The new task's gradient for the fast numbers, for the slow ones that of all batches after the fast step."""
        now = super().gradient(parts, k, at, new(batches))
        own, shared = adapt.cut(parts, at["rows"])
        moved, _ = adapt.cut(parts, adapt.move(parts, self.start.theta, k, at, now)["rows"])
        ahead = adapt.whole(parts, self.start.theta, own + self.fast * (moved - own), shared)
        parts.ops.evaluate(ahead)
        later = super().gradient(parts, k, {**at, "rows": ahead}, batches)
        return self.fast * now + (1 - self.fast) * later


def upper(layout: Layout) -> np.ndarray:
    """1 for the numbers (own,) of the upper half of an adapter's weights, and for those of no block, else 0."""
    adapter = [segment for segment in layout.segments if segment.block is not None]
    slow = set(adapter[: len(adapter) // 2])
    return np.concatenate([np.full(segment.size, segment not in slow, np.float32) for segment in layout.segments])


def oml(start: Start, *, steps: int, seed: int, tasks: int, buffer: Count = 50) -> Oml:
    """Builds OML with `buffer` stored examples a task."""
    return Oml(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer)
