"""The forward loop that keeps its states, and the walk back along them.

    forward   state_0 ... state_K, evaluated after every step, with their inner gradients
    end       c = gradient of the query loss at state_K
    back      for k = K-1 ... 0:  (c, d) = pull(k, state_k, c);  dtheta += d     then c through the initializer

Memory is that of one step plus K rows, however many steps there are.
"""

from collections.abc import Callable

from .. import adapt
from ..types import Array, Batch, Parts, State, Tree

Pull = Callable[[int, State, Array, State], tuple[State, Tree]]


def forward(parts: Parts, theta: Tree, support: Batch, steps: int) -> tuple[list[State], list[Array]]:
    """States 0..K and inner gradients 0..K-1 of T tasks."""
    states, grads = [adapt.begin(parts, theta, support)], []
    for k in range(steps):
        grads.append(adapt.gradient(parts, theta, states[-1], support))
        states.append(adapt.move(parts, theta, k, states[-1], grads[-1]))
        parts.ops.evaluate(states[-1], grads[-1])
    return states, grads


def query_gradient(parts: Parts, rows: Array, query: Batch) -> tuple[Array, Array]:
    """Query losses (T,) and their gradient (T, P)."""

    def loss(rows: Array) -> tuple[Array, Array]:
        losses = parts.problem.losses(rows, query)
        return losses.sum(), losses

    _, losses, grads = parts.ops.value_and_grad(loss, rows)
    return losses, grads


def moving(theta: Tree) -> Tree:
    """The parts of theta that act in a step: all but the initializer."""
    return {name: part for name, part in theta.items() if name != "initializer"}


def through_begin(parts: Parts, theta: Tree, support: Batch, cotangent: State) -> Tree:
    """Pulls the cotangent of the first state back to the initializer's parameters."""
    return parts.ops.vjp(
        lambda meta: adapt.begin(parts, {**theta, "initializer": meta}, support), theta["initializer"], cotangent
    )


def walk(parts: Parts, theta: Tree, support: Batch, query: Batch, steps: int, pull: Pull) -> tuple[Array, Tree]:
    """Query losses (T,) and the gradient of their sum over theta, by one learner's way back."""
    ops = parts.ops
    states, grads = forward(parts, theta, support, steps)
    losses, at_end = query_gradient(parts, states[-1]["rows"], query)
    cotangent = {**ops.zeros_like(states[-1]), "rows": at_end}
    dmoving = ops.zeros_like(moving(theta))
    for k in reversed(range(steps)):
        cotangent, d = pull(k, states[k], grads[k], cotangent)
        dmoving = ops.add(dmoving, d)
        ops.evaluate(cotangent, dmoving)
        states.pop()
        grads.pop()
    gradient = {"initializer": through_begin(parts, theta, support, cotangent), **dmoving}
    ops.evaluate(losses, gradient)
    return losses, gradient
