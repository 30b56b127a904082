"""The unrolled loop as one plain function of theta, which verification differentiates as a whole."""

from collections.abc import Callable, Sequence

from ..core import inner_loop
from ..core.protocols import Components
from ..core.types import Array, Batch, State, Tree
from .backward import Stage

Step = Callable[[Components, Tree, int, State, Batch], State]


def unrolled(parts: Components, stages: Sequence[Stage], theta: Tree, step: Step = inner_loop.step) -> Array:
    """The outer losses (T,) of all stages with `step` as the inner step; memory grows with the steps."""
    problem, losses = parts.problem, list[Array]()
    memories: list[Batch] = []
    state: State = None
    for stage in stages:
        state = inner_loop.resume(parts, state["rows"]) if memories else inner_loop.begin(parts, theta, stage.support)
        for k, terms in enumerate(stage.terms):
            state = step(parts, theta, k - 1, state, stage.support) if k else state
            if k == stage.steps:
                memories.append(problem.memory(state["rows"], stage.support, theta["problem"]))
            for term in terms:
                query = term.query if term.task is None else {**term.query, **memories[term.task]}
                if term.weight:
                    losses.append(term.weight * problem.losses(state["rows"], query, theta["problem"]))
    return sum(losses[1:], losses[0])


def first_order_step(parts: Components, theta: Tree, k: int, state: State, support: Batch) -> State:
    """One inner step whose gradient is held constant."""
    gradient = parts.ops.stop_gradient(inner_loop.gradient(parts, theta, state, support))
    return inner_loop.move(parts, theta, k, state, gradient)
