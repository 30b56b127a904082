"""First-order MAML: the same reverse pass with the inner gradient held constant."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from ..core.bounds import Bounds
from ..core.protocols import Components
from ..core.types import Array, Batch, Tree
from .backward import first_order
from .definitions import first_order_step, unrolled
from .maml import Maml
from .objective import stages


class Fomaml(Maml):
    """No second derivative is taken; rates of a rule are still trained."""

    trains = frozenset({"initializer", "problem", "rule"})
    exact_gradient = False
    step_vjp = staticmethod(first_order)

    def definition(self, theta: Tree, support: Batch, query: Batch) -> Callable[[Tree], Array]:
        """The outer losses of the unrolled loop whose inner gradients are held constant."""
        return partial(unrolled, self.parts, stages(support, query, self.steps), step=first_order_step)


def fomaml(parts: Components, *, steps: Annotated[int, Bounds(0, 1000)] = 5) -> Fomaml:
    """Builds first-order MAML over `steps` inner steps (Finn et al. 2017).

    Use it when nothing speaks against it: the default of most recipes. Learned rates are trained too.
    Not when a regularizer's strength or long adaptations matter: `maml` has the derivatives through all steps.

    steps: inner steps of an episode; 0 trains the start on the query loss.
    """
    return Fomaml(parts, steps)
