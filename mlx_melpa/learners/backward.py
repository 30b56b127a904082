"""The forward loop that keeps its states, and the walk back along them.

    forward   state_0 ... state_K, evaluated after every step, with their inner gradients
    outer     sum over k of  sum over terms (w, query) of state k  w loss(rows_k, query)
    back      c = gradient of the terms of state_K;   for k = K-1 ... 0:
              (c, d) = pull(k, state_k, c);  dtheta += d;  c += gradient of the terms of state_k
    begin     c through the initializer

Usual learners have one term, weight 1 at the end; terms on the way are MAML++'s multi-step loss. A stream is a list of
legs, one for each task: rows go on from where the leg before ended, what rule and regularizer remember begins anew (as
`adapt.resume` has it), and terms at the end of a leg hold the tasks so far. Memory is that of one step plus the K rows
of all legs, however many steps and terms there are.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..core import inner_loop as adapt
from ..core.protocols import Parts
from ..core.types import Array, Batch, State, Tree
from .task_memories import Recall

Terms = Sequence[tuple[float, Batch] | tuple[float, Batch, int]]
"""Query batches that the outer loss has at one state, each with its weight; a weight of 0 costs nothing.

A third entry names the leg whose task is asked about with no support at hand: see `Recall`.
"""


class Leg(NamedTuple):
    """The K steps on one support set, and the outer loss along them: K + 1 lists of terms, for states 0 ... K."""

    support: Batch
    terms: Sequence[Terms]


Pull = Callable[[Leg, int, State, Array, State], tuple[State, Tree]]
"""How a learner goes back over step k of a leg: (leg, k, state, inner gradient, cotangent of the state after it)."""


def at_end(support: Batch, query: Batch, steps: int) -> list[Leg]:
    """One task whose query counts after the last step alone."""
    return [Leg(support, [*([()] * steps), [(1.0, query)]])]


def forward(
    parts: Parts, theta: Tree, support: Batch, steps: int, state: State | None = None
) -> tuple[list[State], list[Array]]:
    """States 0..K and inner gradients 0..K-1 of T tasks, from the initializer or from a state."""
    states, grads = [adapt.begin(parts, theta, support) if state is None else state], []
    for k in range(steps):
        grads.append(adapt.gradient(parts, theta, states[-1], support))
        states.append(adapt.move(parts, theta, k, states[-1], grads[-1]))
        parts.ops.evaluate(states[-1], grads[-1])
    return states, grads


def query_gradient(parts: Parts, rows: Array, query: Batch, weight: float = 1.0) -> tuple[Array, Array]:
    """Weighted query losses (T,) and their gradient (T, P)."""

    def loss(rows: Array) -> tuple[Array, Array]:
        losses = weight * parts.problem.losses(rows, query)
        return losses.sum(), losses

    _, losses, grads = parts.ops.value_and_grad(loss, rows)
    return losses, grads


def moving(theta: Tree) -> Tree:
    """The parts of theta that act in a step: all but the initializer."""
    return {name: part for name, part in theta.items() if name != "initializer"}


def acting(parts: Parts, theta: Tree) -> Tree:
    """The same, with the initializer where it makes the rows of every step from codes."""
    return theta if parts.initializer.code else moving(theta)


def through_begin(parts: Parts, theta: Tree, support: Batch, cotangent: State) -> Tree:
    """Pulls the cotangent of the first state back to the initializer's parameters."""
    return parts.ops.vjp(
        lambda meta: adapt.begin(parts, {**theta, "initializer": meta}, support), theta["initializer"], cotangent
    )


def exact(parts: Parts, theta: Tree) -> Pull:
    """Goes back over a whole step, its inner gradient included: second derivatives."""

    def pull(leg: Leg, k: int, state: State, grads: Array, cotangent: State) -> tuple[State, Tree]:
        def one(at: tuple[State, Tree]) -> State:
            return adapt.step(parts, at[1], k, at[0], leg.support)

        return parts.ops.vjp(one, (state, acting(parts, theta)), cotangent)

    return pull


def first_order(parts: Parts, theta: Tree) -> Pull:
    """Goes back over a step whose inner gradient is held constant."""

    def pull(leg: Leg, k: int, state: State, grads: Array, cotangent: State) -> tuple[State, Tree]:
        def one(at: tuple[State, Tree]) -> State:
            return adapt.move(parts, at[1], k, at[0], grads)

        return parts.ops.vjp(one, (state, acting(parts, theta)), cotangent)

    return pull


def walk(parts: Parts, theta: Tree, legs: Sequence[Leg], pull: Pull) -> tuple[Array, Tree]:
    """The outer losses (T,), weighted sums of query losses, and the gradient of their sum over theta.

    Every leg has the same T tasks as rows. Raises ValueError where the last state has no term.
    """
    ops = parts.ops
    if not any(weight for weight, *_ in legs[-1].terms[-1]):
        raise ValueError("the outer loss needs a term after the last step; leave out the steps after its last one")
    way = [forward(parts, theta, legs[0].support, len(legs[0].terms) - 1)]
    for leg in legs[1:]:
        onward = adapt.resume(parts, way[-1][0][-1]["rows"])
        way.append(forward(parts, theta, leg.support, len(leg.terms) - 1, onward))
    recall = _recall(parts, legs, [states[-1]["rows"] for states, _ in way])
    losses: Array | None = None
    dmoving, cotangent = ops.zeros_like(acting(parts, theta)), None
    for number, leg in reversed(list(enumerate(legs))):
        states, grads = way.pop()
        if cotangent is not None:  # of the first state of the leg after this one: back to the rows it went on from
            rows = ops.vjp(lambda rows: adapt.resume(parts, rows), states[-1]["rows"], cotangent)
            cotangent = {**ops.zeros_like(states[-1]), "rows": rows}
        for k in reversed(range(len(leg.terms))):
            if k < len(leg.terms) - 1:
                cotangent, d = pull(leg, k, states[k], grads.pop(), cotangent)
                dmoving = ops.add(dmoving, d)
                ops.evaluate(cotangent, dmoving)
            losses, cotangent = _with_terms(parts, states.pop(), leg.terms[k], losses, cotangent, recall)
            if recall is not None and cotangent is not None and k == len(leg.terms) - 1:
                cotangent = {**cotangent, "rows": cotangent["rows"] + recall.pull(number)}
    dbegin = through_begin(parts, theta, legs[0].support, cotangent)
    if "initializer" in dmoving:
        dbegin = ops.add(dbegin, dmoving.pop("initializer"))
    gradient = {"initializer": dbegin, **dmoving}
    ops.evaluate(losses, gradient)
    return losses, gradient


def _recall(parts: Parts, legs: Sequence[Leg], ends: Sequence[Array]) -> Recall | None:
    """The memories of the legs' tasks, where a term asks for one."""
    if not any(len(term) == 3 for leg in legs for terms in leg.terms for term in terms):
        return None
    return Recall(parts, [leg.support for leg in legs], ends)


def _with_terms(
    parts: Parts, state: State, terms: Terms, losses: Array | None, cotangent: State | None, recall: Recall | None
) -> tuple[Array | None, State | None]:
    """Adds a state's terms to the losses and to its cotangent; None stands for nothing yet."""
    ops = parts.ops
    for weight, query, *task in terms:
        if weight:
            if cotangent is not None:  # nothing pends when a query's own graph begins
                ops.evaluate(losses, cotangent)
            if recall is not None and task:
                found, rows = recall.gradient(state["rows"], weight, query, task[0])
            else:
                found, rows = query_gradient(parts, state["rows"], query, weight)
            losses = found if losses is None else losses + found
            more = {**ops.zeros_like(state), "rows": rows}
            cotangent = more if cotangent is None else ops.add(cotangent, more)
    return losses, cotangent
