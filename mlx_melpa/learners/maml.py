"""MAML: the exact meta-gradient, second derivatives and all."""

from typing import Annotated

from .. import adapt
from ..settings import Bounds
from ..types import Array, Batch, Parts, State, Tree
from .walk import moving, walk


class Maml:
    """The walk as it stands."""

    trains = frozenset({"initializer", "rule", "regularizer"})

    def __init__(self, parts: Parts, steps: int):
        self.parts, self.steps = parts, steps

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,) and the gradient of their sum."""
        parts = self.parts

        def pull(k: int, state: State, grads: Array, cotangent: State) -> tuple[State, Tree]:
            def one(at: tuple[State, Tree]) -> State:
                return adapt.step(parts, at[1], k, at[0], support)

            return parts.ops.vjp(one, (state, moving(theta)), cotangent)

        return walk(parts, theta, support, query, self.steps, pull)


def maml(parts: Parts, *, steps: Annotated[int, Bounds(0, 1000)] = 5) -> Maml:
    """Builds exact MAML over `steps` inner steps (Finn et al. 2017)."""
    return Maml(parts, steps)
