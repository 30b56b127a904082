"""The inner step and the loop over it: the one place where rows move.

One step:  g = d/drows [ loss(rows, support) + penalty(rows) ],   (rows, memory) <- rule(rows, g, memory)
Tasks never mix, so the gradient of the summed losses holds each row's own.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import cast

from .protocols import Decoder, Parts
from .types import Array, Batch, State, Tree


def begin(parts: Parts, theta: Tree, support: Batch) -> State:
    """Makes the first state from the initializer, one row per task of the support batch."""
    tasks = support["weights"].shape[0]
    return resume(parts, parts.initializer.make(theta["initializer"], support, tasks))


def resume(parts: Parts, rows: Array, carried: Tree | None = None) -> State:
    """Makes a first state from rows (T, P) that are there already, and what `end` carried from the task before."""
    own, _ = cut(parts, rows)
    return {"rows": rows, "memory": parts.rule.begin(own), "carry": parts.regularizer.begin(own, carried or {})}


def end(parts: Parts, theta: Tree, state: State, examples: Callable[[], Iterable[Batch]]) -> Tree:
    """Closes a task at its last state: what the regularizer carries to the next one.

    `examples` gives the task's examples in batches whose T tasks are one example each, if the regularizer asks for
    their gradients; it takes one row (1, P) then.
    """
    own, _ = cut(parts, state["rows"])
    found = lambda: squares(parts, theta, state["rows"], examples())  # noqa: E731
    return parts.regularizer.end(theta["regularizer"], state["carry"], own, found)


def squares(parts: Parts, theta: Tree, rows: Array, examples: Iterable[Batch]) -> Array:
    """The mean over batches' tasks of their squared gradients at a row (1, P), (1, own): the empirical Fisher."""
    own, shared = cut(parts, rows)
    total: Array = 0.0
    count = 0
    for batch in examples:
        tasks = batch["weights"].shape[0]
        alike = [parts.ops.broadcast(piece, (tasks, piece.shape[1])) for piece in shared]
        repeated = parts.ops.broadcast(own, (tasks, own.shape[1]))
        grads = parts.ops.grad(_summed(parts, theta, batch, alike), repeated)
        total, count = total + (grads * grads).sum(0).reshape(1, -1), count + tasks
        parts.ops.evaluate(total)
    return total / count


def _summed(parts: Parts, theta: Tree, batch: Batch, shared: list[Array]) -> Callable[[Array], Array]:
    """The loss summed over tasks, as a function of their own numbers."""
    return lambda own: parts.problem.losses(whole(parts, theta, own, shared), batch).sum()


def cut(parts: Parts, rows: Array) -> tuple[Array, list[Array]]:
    """A row's own numbers (T, own), which steps move, and the runs of shared ones between them."""
    layout = parts.problem.layout
    if not layout.shares:
        return rows, []
    pieces = parts.ops.split(rows, [start for _, start in layout.runs[1:]], 1)
    own = [piece for (mine, _), piece in zip(layout.runs, pieces, strict=True) if mine]
    return parts.ops.concatenate(own, 1), [p for (mine, _), p in zip(layout.runs, pieces, strict=True) if not mine]


def join(parts: Parts, own: Array, shared: list[Array]) -> Array:
    """The rows (T, P) of both, the inverse of `cut`."""
    layout = parts.problem.layout
    if not layout.shares:
        return own
    ends = [start for _, start in layout.runs[1:]] + [layout.size]
    sizes = [end - start for (mine, start), end in zip(layout.runs, ends, strict=True) if mine]
    pieces = parts.ops.split(own, [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)], 1)
    return parts.ops.concatenate([pieces.pop(0) if mine else shared.pop(0) for mine, _ in layout.runs], 1)


def whole(parts: Parts, theta: Tree, own: Array, shared: list[Array]) -> Array:
    """The rows (T, P) of own numbers (T, own): beside the shared ones, or decoded where these are a code."""
    if parts.initializer.code:
        initializer = cast(Decoder, parts.initializer)
        return initializer.decode(theta["initializer"], own)
    return join(parts, own, list(shared))


def gradient(
    parts: Parts, theta: Tree, state: State, support: Batch, losses: Callable[[Array], Array] | None = None
) -> Array:
    """The inner gradient (T, own) at a state; differentiable again.

    losses: from rows (T, P) to losses (T,), in place of the problem's on the support.
    """
    own, shared = cut(parts, state["rows"])

    def loss(own: Array) -> Array:
        rows = whole(parts, theta, own, shared)
        drift = lambda before: parts.problem.drift(rows, whole(parts, theta, before, shared), support)  # noqa: E731
        penalty = parts.regularizer.penalty(theta["regularizer"], state["carry"], own, drift)
        each = parts.problem.losses(rows, support) if losses is None else losses(rows)
        return (each + penalty).sum()

    return parts.ops.grad(loss, own)


def move(parts: Parts, theta: Tree, k: int, state: State, grads: Array) -> State:
    """Applies the rule's k-th step to gradients that are there already."""
    own, shared = cut(parts, state["rows"])
    own, memory = parts.rule.step(theta["rule"], k, own, grads, state["memory"])
    return {"rows": whole(parts, theta, own, shared), "memory": memory, "carry": state["carry"]}


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


def in_turn(parts: Parts, theta: Tree, supports: Iterable[Batch], steps: int) -> Iterator[State]:
    """Adapts to the tasks of a stream one after another; gives the state at each one's end.

    Each begins with the rows that the one before left, and with the rule's memory and steps anew, as a day does.
    """
    state = None
    for support in supports:
        begun = None if state is None else resume(parts, state["rows"])
        state = adapt(parts, theta, support, steps, begun)
        yield state
