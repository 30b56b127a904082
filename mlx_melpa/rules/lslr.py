"""Learned rates per weight and per step: MAML++'s LSLR."""

import numpy as np

from ..core.bounds import Count, Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Rule
from ..core.types import Array, Tree


class Lslr(Rule):
    """rows - lr[k, segment] g, with lr (K, S) learned; later steps use the K-th rates."""

    verify_with = ({"lr": 0.05, "steps": 3},)
    learnable = True

    def __init__(self, ops: Engine, layout: Layout, lr: float, steps: int):
        self.ops, self.lr, self.steps = ops, lr, steps
        sizes = [s.size for s in layout.segments]
        self._segment = ops.array(np.repeat(np.arange(len(sizes)), sizes))

    def init(self, layout: Layout) -> Tree:
        """All rates begin at `lr`."""
        return {"lr": self.lr * self.ops.ones((self.steps, len(layout.segments)))}

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """One step for rows and gradients (T, P)."""
        rates = self.ops.take(meta["lr"][min(k, self.steps - 1)], self._segment, 0)
        return rows - rates.reshape(1, -1) * grads, memory


def lslr(ops: Engine, layout: Layout, *, lr: Positive = 0.1, steps: Count = 5) -> Lslr:
    """Builds rates per weight and step that begin at `lr`, for up to `steps` steps (Antoniou et al. 2019).

    Use it when rates should be learned by few numbers: one for each weight tensor and step.
    Not when the learner is `reptile` or `imaml`: these can't train rates.

    lr: every rate before meta-training.
    steps: steps with rates of their own; later steps take the last one's.
    """
    return Lslr(ops, layout, lr, steps)
