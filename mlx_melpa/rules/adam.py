"""Adam at one fixed rate; each row has moments of its own."""

from typing import Annotated

from ..core.bounds import Bounds, Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Rule
from ..core.types import Array, Tree

Decay = Annotated[float, Bounds(0, 0.999999)]


class Adam(Rule):
    """rows - lr m^ / (sqrt(v^) + eps), with both moments corrected for their bias."""

    # The first step is the sign of the gradient but for a slope around 0 whose width is eps: at 1e-8 no difference
    # quotient in float32 sees it.
    verify_with = ({"lr": 0.02, "eps": 1e-2},)

    def __init__(self, ops: Engine, lr: float, beta1: float, beta2: float, eps: float):
        self.ops, self.lr, self.beta1, self.beta2, self.eps = ops, lr, beta1, beta2, eps

    def begin(self, rows: Array) -> Tree:
        """Two moments (T, P) and the decays' powers so far (T, 1)."""
        tasks = rows.shape[0]
        return {
            "mean": self.ops.zeros(rows.shape),
            "square": self.ops.zeros(rows.shape),
            "left1": self.ops.ones((tasks, 1)),
            "left2": self.ops.ones((tasks, 1)),
        }

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """One step for rows and gradients (T, P)."""
        mean = self.beta1 * memory["mean"] + (1 - self.beta1) * grads
        square = self.beta2 * memory["square"] + (1 - self.beta2) * grads * grads
        left1, left2 = self.beta1 * memory["left1"], self.beta2 * memory["left2"]
        # The tiny number inside the root keeps its derivative finite where a gradient is exactly zero.
        root = self.ops.sqrt(square / (1 - left2) + 1e-24)
        rows = rows - self.lr * (mean / (1 - left1)) / (root + self.eps)
        return rows, {"mean": mean, "square": square, "left1": left1, "left2": left2}


def adam(
    ops: Engine, layout: Layout, *, lr: Positive = 1e-3, beta1: Decay = 0.9, beta2: Decay = 0.999, eps: Positive = 1e-8
) -> Adam:
    """Builds Adam (Kingma and Ba 2015).

    Use it when many steps follow a random start: baselines are trained so.
    Not when second derivatives are taken: at its first step Adam is a sign, whose slope is 1 / eps near 0.

    lr: the rate of every step.
    beta1, beta2: decay of the first and of the second moment, a step.
    eps: what is added to the root of the second moment.
    """
    return Adam(ops, lr, beta1, beta2, eps)
