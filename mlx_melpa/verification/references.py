"""Every learner's meta-gradient held against finite differences, its own definition, and the plain unrolled loop."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..core import inner_loop as adapt
from ..core.protocols import Parts
from ..core.types import Batch, Tree

Loss = Callable[[Tree], float]
ROUNDING = 1e-7
"""Of a float32 loss, relative: a slope counts for at least a hundred times what a quotient makes of it."""


def unrolled(
    parts: Parts, theta: Tree, support: Batch, query: Batch, steps: int, weights: Sequence[float] | None = None
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


def held_constant(parts: Parts, theta: Tree, support: Batch, query: Batch, steps: int) -> Tree:
    """FOMAML by its definition: the loop with each inner gradient stopped, differentiated at once."""

    def loss(theta: Tree) -> tuple[Any, Any]:
        state = adapt.begin(parts, theta, support)
        for k in range(steps):
            grads = parts.ops.stop_gradient(adapt.gradient(parts, theta, state, support))
            state = adapt.move(parts, theta, k, state, grads)
        losses = parts.problem.losses(state["rows"], query, theta["problem"])
        return losses.sum(), losses

    return parts.ops.value_and_grad(loss, theta)[2]


def start_minus_adapted(parts: Parts, theta: Tree, support: Batch, query: Batch, steps: int) -> Tree:
    """Reptile by its definition: the slope of sum over tasks of (start - adapted) . start, the first held constant."""
    ops, adapted = parts.ops, adapt.adapt(parts, theta, support, steps)["rows"]
    away = ops.stop_gradient(adapt.begin(parts, theta, support)["rows"] - adapted)

    def along(theta: Tree) -> tuple[Any, Any]:
        rows = adapt.begin(parts, theta, support)["rows"]
        return (rows * away).sum(), rows

    return ops.value_and_grad(along, theta)[2]


def query_loss(parts: Parts, support: Batch, query: Batch, steps: int, weights: Sequence[float] | None = None) -> Loss:
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


def implicit(parts: Parts, theta: Tree, support: Batch, query: Batch, steps: int) -> Tree:
    """iMAML by its definition, at the rows where the steps end: the tasks' systems solved as one, in float64."""
    ops, state = parts.ops, adapt.adapt(parts, theta, support, steps)
    rows = state["rows"]

    def asked(theta: Tree, rows: Any) -> Any:
        return parts.problem.losses(rows, query, theta["problem"]).sum()

    def inner(rows: Any) -> Any:
        return adapt.gradient(parts, theta, {**state, "rows": rows}, support)

    def product(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = ops.numpy(ops.vjp(inner, rows, ops.array(x))).astype(np.float64)
        return found

    right = ops.numpy(ops.grad(lambda rows: asked(theta, rows), rows)).astype(np.float64)
    solution = ops.array(_solved(product, right))

    def along(theta: Tree) -> tuple[Any, Any]:
        there = {**adapt.begin(parts, theta, support), "rows": rows}
        return asked(theta, rows) - (solution * adapt.gradient(parts, theta, there, support)).sum(), rows

    return ops.value_and_grad(along, theta)[2]


def _solved(product: Callable[[np.ndarray], np.ndarray], b: np.ndarray, most: int = 200) -> np.ndarray:
    """Conjugate gradients over all rows as one symmetric system."""
    x, rest = np.zeros_like(b), b.copy()
    along = rest.copy()
    for _ in range(most):
        times, left = product(along), (rest * rest).sum()
        rate = left / (along * times).sum()
        x, rest = x + rate * along, rest - rate * times
        if (rest * rest).sum() <= 1e-13 * (b * b).sum():
            break
        along = rest + (rest * rest).sum() / left * along
    return x


def _last(steps: int) -> Sequence[float]:
    return (*([0.0] * steps), 1.0)


def difference(a: Tree, b: Tree, ops: Any) -> dict[str, float]:
    """|a - b| / |b| per leaf name; 0 where both vanish."""
    out = {}
    for (name, x), (_, y) in zip(ops.flatten(a), ops.flatten(b), strict=True):
        x, y = ops.numpy(x).astype(np.float64), ops.numpy(y).astype(np.float64)
        size = max(float(np.linalg.norm(y)), 1e-12)
        out[name] = float(np.linalg.norm(x - y)) / size if np.linalg.norm(x - y) > 1e-12 else 0.0
    return out


def slopes(
    loss: Loss, theta: Tree, gradient: Tree, ops: Any, rng: np.random.Generator, tries: int = 3
) -> Iterator[tuple[str, float]]:
    """Per leaf: the relative error of the slope along the gradient with random directions mixed in.

    Central differences extrapolated over two widths (Richardson); the direction leans on the gradient so that the slope
    stands well above rounding.
    """
    leaves, at_theta = ops.flatten(theta), loss(theta)
    for at, (name, leaf) in enumerate(leaves):
        g = ops.numpy(ops.flatten(gradient)[at][1]).astype(np.float64)
        x = ops.numpy(leaf).astype(np.float64)
        size = float(np.linalg.norm(g))
        worst = 0.0
        for _ in range(tries):
            noise = rng.standard_normal(x.shape)
            direction = g / max(size, 1e-12) + 0.5 * noise / np.linalg.norm(noise)
            direction /= np.linalg.norm(direction)

            def along(h: float, at: int = at, x: np.ndarray = x, d: np.ndarray = direction) -> float:
                moved = [ops.array(x + h * d) if i == at else v for i, (_, v) in enumerate(leaves)]
                return loss(ops.rebuild(theta, moved))

            def central(h: float, along: Callable[[float], float] = along) -> float:
                return (along(h) - along(-h)) / (2 * h)

            exact = float((g * direction).sum())
            size_of_x = max(1.0, float(np.linalg.norm(x)))
            # A width that moves the loss by a thousandth stands well above float32's rounding.
            width = float(np.clip(1e-3 * abs(at_theta) / max(abs(exact), 1e-12), 1e-3 * size_of_x, 0.2 * size_of_x))
            off = []
            for h in (3 * width, width, width / 3, width / 10):
                blur = 300 * ROUNDING * abs(at_theta) / h
                off.append(abs((4 * central(h / 2) - central(h)) / 3 - exact) / max(abs(exact), blur, 1e-12))
            # The best of the widths: too wide bends, too narrow rounds, and a weak slope needs the widest.
            worst = max(worst, min(off))
        yield name, worst
