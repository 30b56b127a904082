"""The outer loss over a stream of tasks and its gradients, written out: what the walk along it is held against.

loss = mean over the tasks i of a stream and the tasks j <= i of the loss on task j's questions at the end of task i
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Components
from mlx_melpa.core.types import Array, Batch, State, Tree

Advance = Callable[[Components, Tree, int, State, Batch], State]


def losses(
    parts: Components, theta: Tree, supports: Sequence[Batch], questions: Sequence[Batch], steps: int, advance: Advance
) -> Array:
    """The outer losses (T,) with `advance` as the inner step."""
    state, asked = adapt.begin(parts, theta, supports[0]), list[Batch]()
    found: list[Array] = []
    for support, question in zip(supports, questions, strict=True):
        state = adapt.resume(parts, state["rows"]) if asked else state
        for k in range(steps):
            state = advance(parts, theta, k, state, support)
        asked.append({**question, **parts.problem.memory(state["rows"], support, theta["problem"])})
        found += [parts.problem.losses(state["rows"], each, theta["problem"]) for each in asked]
    return sum(found[1:], found[0]) / len(found)


def unrolled(parts: Components, theta: Tree, supports: Sequence[Batch], questions: Sequence[Batch], steps: int) -> Tree:
    """The exact meta-gradient by differentiating the whole stream at once."""
    return _gradient(parts, theta, supports, questions, steps, adapt.step)


def held_constant(
    parts: Components, theta: Tree, supports: Sequence[Batch], questions: Sequence[Batch], steps: int
) -> Tree:
    """FOMAML by its definition: the stream with each inner gradient stopped, differentiated at once."""

    def first_order(parts: Components, theta: Tree, k: int, state: State, support: Batch) -> State:
        return adapt.move(parts, theta, k, state, parts.ops.stop_gradient(adapt.gradient(parts, theta, state, support)))

    return _gradient(parts, theta, supports, questions, steps, first_order)


def outer_loss(
    parts: Components, supports: Sequence[Batch], questions: Sequence[Batch], steps: int
) -> Callable[[Tree], float]:
    """The summed outer loss as a function of theta: what finite differences probe."""

    def loss(theta: Tree) -> float:
        found = losses(parts, theta, supports, questions, steps, adapt.step)
        return float(parts.ops.numpy(found).astype(np.float64).sum())

    return loss


def _gradient(
    parts: Components, theta: Tree, supports: Sequence[Batch], questions: Sequence[Batch], steps: int, advance: Advance
) -> Tree:
    def loss(theta: Tree) -> tuple[Any, Any]:
        found = losses(parts, theta, supports, questions, steps, advance)
        return found.sum(), found

    return parts.ops.value_and_grad(loss, theta)[2]
