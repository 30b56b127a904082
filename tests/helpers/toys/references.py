"""The unrolled loop written plainly, its gradient, and that with inner gradients held constant."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Components
from mlx_melpa.core.types import Batch, Tree
from mlx_melpa.verification.differences import relative_errors as difference
from mlx_melpa.verification.differences import slope_errors as slopes

__all__ = ["difference", "held_constant", "query_loss", "slopes", "unrolled"]

Loss = Callable[[Tree], float]


def unrolled(
    parts: Components, theta: Tree, support: Batch, query: Batch, steps: int, weights: Sequence[float] | None = None
) -> Tree:
    """The exact meta-gradient by differentiating the whole loop at once: memory grows with the steps.

    `weights` are what the query loss counts after 0 ... steps; the last alone unless given.
    """

    def loss(theta: Tree) -> tuple[Any, Any]:
        state = adapt.begin(parts, theta, support)
        losses: Any = 0.0
        for k, weight in enumerate(weights or _last(steps)):
            state = adapt.step(parts, theta, k - 1, state, support) if k else state
            losses = (
                losses + weight * parts.problem.losses(state["rows"], query, theta["problem"]) if weight else losses
            )
        return losses.sum(), losses

    return parts.ops.value_and_grad(loss, theta)[2]


def held_constant(parts: Components, theta: Tree, support: Batch, query: Batch, steps: int) -> Tree:
    """FOMAML by its definition: the loop with each inner gradient stopped, differentiated at once."""

    def loss(theta: Tree) -> tuple[Any, Any]:
        state = adapt.begin(parts, theta, support)
        for k in range(steps):
            grads = parts.ops.stop_gradient(adapt.gradient(parts, theta, state, support))
            state = adapt.move(parts, theta, k, state, grads)
        losses = parts.problem.losses(state["rows"], query, theta["problem"])
        return losses.sum(), losses

    return parts.ops.value_and_grad(loss, theta)[2]


def query_loss(
    parts: Components, support: Batch, query: Batch, steps: int, weights: Sequence[float] | None = None
) -> Loss:
    """The summed query loss after adapting, as a function of theta: what finite differences probe.

    `weights` as in `unrolled`.
    """
    counts = weights or _last(steps)

    def loss(theta: Tree) -> float:
        found = [0.0]

        def watch(k: int, state: Tree) -> None:
            if counts[k]:
                losses = parts.ops.numpy(parts.problem.losses(state["rows"], query, theta["problem"]))
                found.append(counts[k] * float(losses.astype(np.float64).sum()))

        adapt.adapt(parts, theta, support, steps, watch=watch)
        return sum(found)

    return loss


def _last(steps: int) -> Sequence[float]:
    return (*([0.0] * steps), 1.0)
