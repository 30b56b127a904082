"""First-order MAML: the same walk with the inner gradient held constant."""

from typing import Annotated

from .. import adapt
from ..settings import Bounds
from ..types import Array, Batch, Parts, State, Tree
from .walk import moving, walk


class Fomaml:
    """No second derivative is taken; rates of a rule are still trained."""

    trains = frozenset({"initializer", "rule"})

    def __init__(self, parts: Parts, steps: int):
        self.parts, self.steps = parts, steps

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,) and the gradient of their sum."""
        parts = self.parts

        def pull(k: int, state: State, grads: Array, cotangent: State) -> tuple[State, Tree]:
            def one(at: tuple[State, Tree]) -> State:
                return adapt.move(parts, at[1], k, at[0], grads)

            return parts.ops.vjp(one, (state, moving(theta)), cotangent)

        return walk(parts, theta, support, query, self.steps, pull)


def fomaml(parts: Parts, *, steps: Annotated[int, Bounds(0, 1000)] = 5) -> Fomaml:
    """Builds first-order MAML over `steps` inner steps (Finn et al. 2017); 0 trains the start on the query loss."""
    return Fomaml(parts, steps)
