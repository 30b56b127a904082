"""MAML: the exact meta-gradient, second derivatives and all."""

from typing import Annotated

from ..settings import Bounds
from ..types import Array, Batch, Parts, Tree
from .walk import at_end, exact, walk


class Maml:
    """The walk as it stands."""

    trains = frozenset({"initializer", "rule", "regularizer"})

    def __init__(self, parts: Parts, steps: int):
        self.parts, self.steps = parts, steps

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,) and the gradient of their sum."""
        return walk(self.parts, theta, at_end(support, query, self.steps), exact(self.parts, theta))


def maml(parts: Parts, *, steps: Annotated[int, Bounds(0, 1000)] = 5) -> Maml:
    """Builds exact MAML over `steps` inner steps (Finn et al. 2017)."""
    return Maml(parts, steps)
