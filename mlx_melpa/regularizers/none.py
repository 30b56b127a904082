"""No regularizer."""

from collections.abc import Callable
from typing import Any

from ..core.layout import Layout
from ..core.protocols import Drift
from ..core.types import Array, Tree


class Nothing:
    """A penalty of zero."""

    learnable = carries = holds = False

    def __init__(self, ops: Any):
        self.ops = ops

    def init(self, layout: Layout) -> Tree:
        """Nothing is learned."""
        return {}

    def begin(self, rows: Array, carried: Tree) -> Tree:
        """Nothing is needed."""
        return {}

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """Zeros (T,)."""
        return self.ops.zeros((rows.shape[0],))

    def end(self, meta: Tree, carry: Tree, rows: Array, squares: Callable[[], Array]) -> Tree:
        """Nothing is carried."""
        return {}


def none(ops: Any) -> Nothing:
    """Builds the absence of a regularizer."""
    return Nothing(ops)
