"""L2 to the start: 1/2 sum_i s_i (rows_i - start_i)^2; one strength for all numbers, or a learned one for each.

A strength for each number is MeLPA's importance of parameters. The outer loop learns it, where EWC estimates it from
gradients; there is no state between tasks, so that streams can train it.
"""

from math import log

from ..core.bounds import Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Drift, Regularizer
from ..core.types import Array, Tree
from ..errors import RecipeError


class L2(Regularizer):
    """A quadratic pull to the start of the adaptation."""

    # So strong that the inner problem has one solution, which imaml takes for granted.
    verify_with = ({"strength": 5.0, "learn": True}, {"strength": 5.0, "learn": True, "each": True})
    holds = True

    def __init__(self, ops: Engine, strength: float, learn: bool, each: bool):
        self.ops, self.strength, self.learnable, self.each = ops, strength, learn, each

    def init(self, layout: Layout) -> Tree:
        """The logarithm of the strength, (1,), or of each number's, (P,), if it is learned."""
        size = layout.size if self.each else 1
        return {"log_strength": self.ops.array([log(self.strength)] * size)} if self.learnable else {}

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """The penalty (T,)."""
        strength = self.ops.exp(meta["log_strength"]).reshape(1, -1) if self.learnable else self.strength
        away = rows - carry["start"]
        return 0.5 * (strength * away * away).sum(-1)


def l2(ops: Engine, *, strength: Positive = 1e-2, learn: bool = False, each: bool = False) -> L2:
    """Builds the pull to the start with a `strength`.

    Raises RecipeError for `each` without `learn`.

    Use it when the learner is `imaml`, or steps are many and examples few.
    Not when earlier tasks should be kept and their examples are gone: `ewc` knows which numbers mattered to them.

    strength: the factor of the penalty; its value before meta-training where it is learned.
    learn: true learns the strength in the outer loop.
    each: true gives every number of the row a strength of its own.
    """
    if each and not learn:
        raise RecipeError("regularizer l2: each number's own strength is learned; set regularizer.learn: true")
    return L2(ops, strength, learn, each)
