"""Online EWC: a pull to the rows at the last task's end, weighted by the Fisher information of the tasks so far.

penalty = s/2 sum_i w_i (F_i + prior) (rows_i - start_i)^2
After a task  F <- decay F + min(G / mean(G), cap),  G_i = the mean over its examples of each one's squared gradient.
G is scaled to mean 1, so that each task counts alike. The one anchor is `start`, where the last task ended (both as in
Schwarz et al. 2018). The cap is ours: a few numbers, such as the readout's temperature, have thousands of times
the mean, and a step overshoots if rate s F > 2. If `learn` is true, the strength s and the importance
w (else 1) are meta-learned; single tasks train them through `prior` alone, since their F is 0.
"""

from collections.abc import Callable
from math import log
from typing import Annotated

from ..core.bounds import Bounds, Positive, Share
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Drift, Regularizer
from ..core.types import Array, Tree

TINY = 1e-30


class Ewc(Regularizer):
    """A quadratic pull to the last task's end, stronger for numbers on which the tasks so far depend."""

    verify_with = ({"strength": 5.0, "prior": 1.0, "learn": True},)
    carries = holds = True

    def __init__(self, ops: Engine, strength: float, decay: float, prior: float, cap: float, learn: bool):
        self.ops, self.strength, self.decay = ops, strength, decay
        self.prior, self.cap, self.learnable, self.holds = prior, cap, learn, prior > 0

    def init(self, layout: Layout) -> Tree:
        """The logarithms of the strength (1,) and of each number's importance (P,), if they are learned."""
        if not self.learnable:
            return {}
        return {"log_strength": self.ops.array([log(self.strength)]), "log_importance": self.ops.zeros((layout.size,))}

    def begin(self, rows: Array, carried: Tree) -> Tree:
        """The start, and the Fisher information (T, P) of earlier tasks: zeros at the first."""
        fisher = carried["root"] * carried["root"] if carried else self.ops.zeros(rows.shape)
        return {"start": rows, "fisher": fisher}

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """The penalty (T,)."""
        away = rows - carry["start"]
        pull = (carry["fisher"] + self.prior) * away * away
        if not self.learnable:
            return 0.5 * self.strength * pull.sum(-1)
        return 0.5 * (self.ops.exp(meta["log_strength"] + meta["log_importance"]).reshape(1, -1) * pull).sum(-1)

    def end(self, meta: Tree, carry: Tree, rows: Array, squares: Callable[[], Array]) -> Tree:
        """The root of the Fisher information (T, P), which half precision can store."""
        found = squares()
        scaled = found / self.ops.maximum(found.mean(-1).reshape(-1, 1), TINY)
        return {"root": self.ops.sqrt(self.decay * carry["fisher"] + self.ops.minimum(scaled, self.cap))}


def ewc(
    ops: Engine,
    *,
    strength: Positive = 0.1,
    decay: Share = 0.9,
    prior: Annotated[float, Bounds(0)] = 1e-2,
    cap: Positive = 10.0,
    learn: bool = False,
) -> Ewc:
    """Builds online EWC (Kirkpatrick et al. 2017; Schwarz et al. 2018).

    Use it when tasks follow one another, gradient steps change the adapter, and no example may be stored.
    Not when class means are stored (`prototypes`, `ridge`): these keep earlier labels without it. It stores one more
    number for each of the row's.

    strength: the factor of the penalty; above 1 / (lr cap) steps overshoot.
    decay: how much of the earlier Fisher each task leaves.
    prior: what a number counts before there is any Fisher.
    cap: the largest Fisher that one task gives to a number, in means.
    learn: true learns the strength, and an importance of each number, in the outer loop.
    """
    return Ewc(ops, strength, decay, prior, cap, learn)
