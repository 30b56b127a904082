"""Gradient descent at one fixed rate."""

from ..core.bounds import Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Rule
from ..core.types import Array, Tree


class Sgd(Rule):
    """rows - lr g."""

    verify_with = ({"lr": 0.05},)

    def __init__(self, lr: float):
        self.lr = lr

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """One step for rows and gradients (T, P)."""
        return rows - self.lr * grads, memory


def sgd(ops: Engine, layout: Layout, *, lr: Positive = 0.1) -> Sgd:
    """Builds gradient descent at rate `lr`.

    Use it when first results are wanted, and the rate is known.
    Not when the rate is not known: `meta_sgd` and `lslr` learn it.

    lr: the rate of every step.
    """
    return Sgd(lr)
