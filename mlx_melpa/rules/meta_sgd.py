"""Meta-SGD: a learned rate, and direction, for every number of the row."""

from ..core.bounds import Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Rule
from ..core.types import Array, Tree


class MetaSgd(Rule):
    """rows - lr * g, with lr (P,) learned."""

    verify_with = ({"lr": 0.05},)
    learnable = True

    def __init__(self, ops: Engine, lr: float):
        self.ops, self.lr = ops, lr

    def init(self, layout: Layout) -> Tree:
        """All rates begin at `lr`."""
        return {"lr": self.lr * self.ops.ones((layout.size,))}

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """One step for rows and gradients (T, P)."""
        return rows - meta["lr"].reshape(1, -1) * grads, memory


def meta_sgd(ops: Engine, layout: Layout, *, lr: Positive = 0.1) -> MetaSgd:
    """Builds Meta-SGD with rates that begin at `lr` (Li et al. 2017).

    Use it when some numbers of an adapter should move far and others stay, and steps are few.
    Not when the learner is `reptile` or `imaml`: these can't train rates.

    lr: the rate of all numbers before meta-training.
    """
    return MetaSgd(ops, lr)
