"""Reptile: the start moves towards the adapted rows."""

from collections.abc import Callable
from typing import Annotated

from ..core import inner_loop
from ..core.bounds import Bounds
from ..core.protocols import Components, Learner
from ..core.types import Array, Batch, Tree
from .backward import forward, initializer_vjp


class Reptile(Learner):
    """The gradient start - adapted, pulled back through the initializer."""

    trains = frozenset({"initializer"})
    verify_with = ({},)

    def __init__(self, parts: Components, steps: int):
        self.parts, self.steps = parts, steps

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,) after adapting, and Reptile's direction summed over tasks."""
        parts = self.parts
        states, _ = forward(parts, theta, support, self.steps)
        away = states[0]["rows"] - states[-1]["rows"]
        cotangent = {**parts.ops.zeros_like(states[0]), "rows": away}
        initializer = initializer_vjp(parts, theta, support, cotangent)["initializer"]
        gradient = {**parts.ops.zeros_like(theta), "initializer": initializer}
        losses = parts.problem.losses(states[-1]["rows"], query, theta["problem"])
        parts.ops.evaluate(losses, gradient)
        return losses, gradient

    def definition(self, theta: Tree, support: Batch, query: Batch) -> Callable[[Tree], Array]:
        """(start - adapted) . start for each task, the first factor held constant."""
        parts = self.parts
        adapted = inner_loop.adapt(parts, theta, support, self.steps)["rows"]
        away = inner_loop.begin(parts, theta, support)["rows"] - adapted
        return lambda theta: (inner_loop.begin(parts, theta, support)["rows"] * away).sum(-1)


def reptile(parts: Components, *, steps: Annotated[int, Bounds(1, 1000)] = 5) -> Reptile:
    """Builds Reptile over `steps` inner steps (Nichol et al. 2018).

    Use it when memory or time is short: it needs no query loss and no derivative of a step.
    Not when a rule or regularizer should learn: it trains the start alone.

    steps: inner steps of an episode.
    """
    return Reptile(parts, steps)
