"""The inner step and the loop over it: the one place where rows move.

One step:  g = d/drows [ loss(rows, support) + penalty(rows) ],   (rows, memory) <- rule(rows, g, memory)
Tasks never mix, so the gradient of the summed losses holds each row's own.
"""

from collections.abc import Callable

from .types import Array, Batch, Parts, State, Tree


def begin(parts: Parts, theta: Tree, support: Batch) -> State:
    """Makes the first state from the initializer, one row per task of the support batch."""
    tasks = support["weights"].shape[0]
    return resume(parts, parts.initializer.make(theta["initializer"], support, tasks))


def resume(parts: Parts, rows: Array) -> State:
    """Makes a first state from rows (T, P) that are there already."""
    return {"rows": rows, "memory": parts.rule.begin(rows), "carry": parts.regularizer.begin(rows)}


def gradient(parts: Parts, theta: Tree, state: State, support: Batch) -> Array:
    """The inner gradient (T, P) at a state, 0 for what is shared; differentiable again."""

    def loss(rows: Array) -> Array:
        penalty = parts.regularizer.penalty(theta["regularizer"], state["carry"], rows)
        return (parts.problem.losses(rows, support) + penalty).sum()

    grads, layout = parts.ops.grad(loss, state["rows"]), parts.problem.layout
    return grads * parts.ops.array(layout.own).reshape(1, -1) if layout.shares else grads


def move(parts: Parts, theta: Tree, k: int, state: State, grads: Array) -> State:
    """Applies the rule's k-th step to gradients that are there already."""
    rows, memory = parts.rule.step(theta["rule"], k, state["rows"], grads, state["memory"])
    return {"rows": rows, "memory": memory, "carry": state["carry"]}


def step(parts: Parts, theta: Tree, k: int, state: State, support: Batch) -> State:
    """One inner step: the gradient, then the rule."""
    return move(parts, theta, k, state, gradient(parts, theta, state, support))


def adapt(
    parts: Parts,
    theta: Tree,
    support: Batch,
    steps: int,
    state: State | None = None,
    watch: Callable[[int, State], bool | None] | None = None,
) -> State:
    """Runs the inner steps from the initializer, or from a stored state, and evaluates after each.

    `watch(k, state)` sees the state before the first step (k = 0) and after each; returning False ends the loop.
    """
    state = begin(parts, theta, support) if state is None else state
    for k in range(steps + 1):
        if k:
            state = step(parts, theta, k - 1, state, support)
            parts.ops.evaluate(state)
        if watch is not None and watch(k, state) is False:
            break
    return state
