"""No regularizer."""

from ..core.engine import Engine
from ..core.protocols import Drift, Regularizer
from ..core.types import Array, Tree


class NoRegularizer(Regularizer):
    """A penalty of zero."""

    verify_with = ({},)

    def __init__(self, ops: Engine):
        self.ops = ops

    def begin(self, rows: Array, carried: Tree) -> Tree:
        """No state."""
        return {}

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """Zeros (T,)."""
        return self.ops.zeros((rows.shape[0],))


def none(ops: Engine) -> NoRegularizer:
    """Builds the absence of a regularizer.

    Use it when few steps are taken: they stay near the start by themselves.
    Not when the learner is `imaml`, which needs a pull to the start.
    """
    return NoRegularizer(ops)
