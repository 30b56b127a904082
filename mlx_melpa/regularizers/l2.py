"""L2 to the start: exp(s) / 2 |rows - start|^2, its strength learned or fixed."""

from collections.abc import Callable
from math import log
from typing import Any

from ..layout import Layout
from ..settings import Positive
from ..types import Array, Tree


class L2:
    """A quadratic pull to where the adaptation began."""

    carries = False

    def __init__(self, ops: Any, strength: float, learn: bool):
        self.ops, self.strength, self.learnable = ops, strength, learn

    def init(self, layout: Layout) -> Tree:
        """The logarithm of the strength, (1,), where it is learned."""
        return {"log_strength": self.ops.array([log(self.strength)])} if self.learnable else {}

    def begin(self, rows: Array, carried: Tree) -> Tree:
        """Holds the start."""
        return {"start": rows}

    def penalty(self, meta: Tree, carry: Tree, rows: Array) -> Array:
        """The penalty (T,)."""
        strength = self.ops.exp(meta["log_strength"]) if self.learnable else self.strength
        away = rows - carry["start"]
        return 0.5 * strength * (away * away).sum(-1)

    def end(self, meta: Tree, carry: Tree, rows: Array, squares: Callable[[], Array]) -> Tree:
        """Nothing is carried: the next task starts from where this one ended."""
        return {}


def l2(ops: Any, *, strength: Positive = 1e-2, learn: bool = False) -> L2:
    """Builds the pull to the start with a `strength`, learned with the outer loop where `learn` says so."""
    return L2(ops, strength, learn)
