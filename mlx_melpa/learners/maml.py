"""MAML: the exact meta-gradient, with second derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar

from ..core.bases import Settings
from ..core.bounds import Bounds
from ..core.protocols import Components, Learner
from ..core.types import Array, Batch, Tree
from .backward import backward, exact
from .definitions import unrolled
from .objective import stages


class Maml(Learner):
    """The reverse pass through every step; `step_vjp` is the reverse of one step."""

    streams = exact_gradient = True
    verify_with: ClassVar[tuple[Settings, ...]] = ({},)
    step_vjp = staticmethod(exact)

    def __init__(self, parts: Components, steps: int):
        self.parts, self.steps = parts, steps

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,) of tasks or of streams, and the gradient of their sum."""
        return backward(self.parts, theta, stages(support, query, self.steps), self.step_vjp(self.parts, theta))

    def definition(self, theta: Tree, support: Batch, query: Batch) -> Callable[[Tree], Array]:
        """The outer losses of the unrolled loop."""
        return partial(unrolled, self.parts, stages(support, query, self.steps))


def maml(parts: Components, *, steps: Annotated[int, Bounds(0, 1000)] = 5) -> Maml:
    """Builds exact MAML over `steps` inner steps (Finn et al. 2017).

    Use it when second derivatives may pay: few steps at large learned rates. Memory is that of one step plus K rows.
    Not when time counts: `fomaml` takes less per iteration, and was as good on simulated people.

    steps: inner steps of an episode; 0 trains the start on the query loss.
    """
    return Maml(parts, steps)
