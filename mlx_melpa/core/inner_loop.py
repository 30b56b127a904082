"""The inner step and the loop over it: the one place where rows change.

One step:  g = d/drows [ loss(rows, support, shared) + penalty(rows) ],   (rows, memory) <- rule(rows, g, memory)
Rows hold a user's own numbers only; what all share is shared = theta["problem"], an argument of every loss.
Tasks never mix, so the gradient of the summed losses holds each row's own.
"""

from collections.abc import Callable, Iterable, Iterator

from .protocols import Components
from .types import Array, Batch, State, Tree


def begin(parts: Components, theta: Tree, support: Batch) -> State:
    """Makes the first state from the initializer, one row per task of the support batch."""
    return resume(parts, parts.initializer.make(theta, support, support["weights"].shape[0]))


def resume(parts: Components, rows: Array, carried: Tree | None = None) -> State:
    """Makes a first state from given rows (T, P) and the regularizer's state from the task before."""
    return {"rows": rows, "memory": parts.rule.begin(rows), "carry": parts.regularizer.begin(rows, carried or {})}


def end(parts: Components, theta: Tree, state: State, examples: Callable[[], Iterable[Batch]]) -> Tree:
    """Closes a task at its last state and returns the regularizer's state for the next task.

    `examples` gives the task's examples in batches whose T tasks are one example each. It is called only if the
    regularizer needs their gradients, and then the state has one row (1, P).
    """

    def fisher() -> Array:
        return squares(parts, theta, state["rows"], examples())

    return parts.regularizer.end(theta["regularizer"], state["carry"], state["rows"], fisher)


def squares(parts: Components, theta: Tree, row: Array, examples: Iterable[Batch]) -> Array:
    """The empirical Fisher information (1, P) at a row (1, P): the mean over examples of their squared gradients."""
    total: Array = 0.0
    count = 0
    for batch in examples:
        tasks = batch["weights"].shape[0]

        def loss(rows: Array, batch: Batch = batch) -> Array:
            return parts.problem.losses(rows, batch, theta["problem"]).sum()

        grads = parts.ops.grad(loss, parts.ops.broadcast(row, (tasks, row.shape[1])))
        total, count = total + (grads * grads).sum(0).reshape(1, -1), count + tasks
        parts.ops.evaluate(total)
    return total / count


def gradient(
    parts: Components, theta: Tree, state: State, support: Batch, losses: Callable[[Array], Array] | None = None
) -> Array:
    """The inner gradient (T, P) at a state; differentiable again.

    losses: from rows (T, P) to losses (T,), in place of the problem's on the support.
    """
    shared = theta["problem"]

    def loss(rows: Array) -> Array:
        def drift(before: Array) -> Array:
            return parts.problem.drift(rows, before, support, shared)

        penalty = parts.regularizer.penalty(theta["regularizer"], state["carry"], rows, drift)
        each = parts.problem.losses(rows, support, shared) if losses is None else losses(rows)
        return (each + penalty).sum()

    return parts.ops.grad(loss, state["rows"])


def move(parts: Components, theta: Tree, k: int, state: State, grads: Array) -> State:
    """Applies the rule's k-th step to given gradients (T, P)."""
    rows, memory = parts.rule.step(theta["rule"], k, state["rows"], grads, state["memory"])
    return {"rows": rows, "memory": memory, "carry": state["carry"]}


def step(parts: Components, theta: Tree, k: int, state: State, support: Batch) -> State:
    """One inner step: the gradient, then the rule."""
    return move(parts, theta, k, state, gradient(parts, theta, state, support))


def adapt(
    parts: Components,
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


def in_turn(parts: Components, theta: Tree, supports: Iterable[Batch], steps: int) -> Iterator[State]:
    """Adapts to the tasks of a stream one after another; yields the state at the end of each.

    Each task begins with the rows of the one before, and with a new state of rule and regularizer, as a day does.
    """
    state = None
    for support in supports:
        begun = None if state is None else resume(parts, state["rows"])
        state = adapt(parts, theta, support, steps, begun)
        yield state
