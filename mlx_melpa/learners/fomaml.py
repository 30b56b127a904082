"""First-order MAML: the same walk with the inner gradient held constant."""

from typing import Annotated

from ..settings import Bounds
from ..types import Array, Batch, Parts, Tree
from .legs import legs
from .walk import first_order, walk


class Fomaml:
    """No second derivative is taken; rates of a rule are still trained."""

    trains = frozenset({"initializer", "rule"})

    streams = True

    def __init__(self, parts: Parts, steps: int):
        self.parts, self.steps = parts, steps

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,) of tasks or of streams, and the gradient of their sum."""
        return walk(self.parts, theta, legs(support, query, self.steps), first_order(self.parts, theta))


def fomaml(parts: Parts, *, steps: Annotated[int, Bounds(0, 1000)] = 5) -> Fomaml:
    """Builds first-order MAML over `steps` inner steps (Finn et al. 2017); 0 trains the start on the query loss."""
    return Fomaml(parts, steps)
