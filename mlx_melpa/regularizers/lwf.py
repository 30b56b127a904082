"""Learning without forgetting: distillation from the row at the start of a task, on the task's own examples.

penalty = s drift(start, rows),  drift = the mean over the task's examples of KL(p(. | x, start) || p(. | x, rows))
among the task's own labels; for a regression, the mean squared change of the predictions. Li and Hoiem 2016 use the
labels of earlier tasks; a row alone has no head for those. The strength is meta-learned if `learn` is true. There is no
state between tasks: each one's teacher is the row at which it starts.
"""

from math import log

from ..core.bases import Readout
from ..core.bounds import Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Drift, Regularizer
from ..core.types import Array, Tree


class Lwf(Regularizer):
    """A pull on answers, not on numbers; each step reads the support set twice more, for the teacher and the row."""

    verify_with = ({"strength": 5.0, "learn": True},)

    def __init__(self, ops: Engine, strength: float, learn: bool):
        self.ops, self.strength, self.learnable = ops, strength, learn

    def init(self, layout: Layout) -> Tree:
        """The logarithm of the strength (1,), if it is learned."""
        return {"log_strength": self.ops.array([log(self.strength)])} if self.learnable else {}

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """The penalty (T,)."""
        strength = self.ops.exp(meta["log_strength"]) if self.learnable else self.strength
        return strength * drift(carry["start"])

    def lacks(self, readout: Readout | None) -> str:
        """Texts have no labels among which answers could be compared."""
        if readout is None or readout.classifies:
            return ""
        return "regularizer: lwf distils answers among labels, and texts have none; set regularizer: l2, or ewc"


def lwf(ops: Engine, *, strength: Positive = 1.0, learn: bool = False) -> Lwf:
    """Builds the distillation from the row before (Li and Hoiem 2016).

    Use it when tasks follow one another with the same labels or outputs, and nothing may be stored.
    Not when each day brings new labels: the row before knows nothing of these.

    strength: the factor of the penalty.
    learn: true learns the strength in the outer loop.
    """
    return Lwf(ops, strength, learn)
