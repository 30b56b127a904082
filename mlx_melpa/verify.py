"""Every learner's meta-gradient held against finite differences, its own definition, and the plain unrolled loop."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import adapt
from .types import Batch, Parts, Tree


def unrolled(parts: Parts, theta: Tree, support: Batch, query: Batch, steps: int) -> Tree:
    """The exact meta-gradient by differentiating the whole loop at once: memory grows with the steps."""

    def loss(theta: Tree) -> tuple[Any, Any]:
        state = adapt.begin(parts, theta, support)
        for k in range(steps):
            state = adapt.step(parts, theta, k, state, support)
        losses = parts.problem.losses(state["rows"], query)
        return losses.sum(), losses

    return parts.ops.value_and_grad(loss, theta)[2]


def held_constant(parts: Parts, theta: Tree, support: Batch, query: Batch, steps: int) -> Tree:
    """FOMAML by its definition: the loop with each inner gradient stopped, differentiated at once."""

    def loss(theta: Tree) -> tuple[Any, Any]:
        state = adapt.begin(parts, theta, support)
        for k in range(steps):
            grads = parts.ops.stop_gradient(adapt.gradient(parts, theta, state, support))
            state = adapt.move(parts, theta, k, state, grads)
        losses = parts.problem.losses(state["rows"], query)
        return losses.sum(), losses

    return parts.ops.value_and_grad(loss, theta)[2]


def difference(a: Tree, b: Tree, ops: Any) -> dict[str, float]:
    """|a - b| / |b| per leaf name; 0 where both vanish."""
    out = {}
    for (name, x), (_, y) in zip(ops.flatten(a), ops.flatten(b), strict=True):
        x, y = ops.numpy(x).astype(np.float64), ops.numpy(y).astype(np.float64)
        size = max(float(np.linalg.norm(y)), 1e-12)
        out[name] = float(np.linalg.norm(x - y)) / size if np.linalg.norm(x - y) > 1e-12 else 0.0
    return out


def slopes(
    loss: Callable[[Tree], float], theta: Tree, gradient: Tree, ops: Any, rng: np.random.Generator, tries: int = 3
) -> Iterator[tuple[str, float]]:
    """Per leaf: the relative error of the directional derivative along the gradient and along random directions mixed in.

    Central differences at two widths, extrapolated (Richardson); the direction leans on the gradient so that the slope
    stands well above rounding.
    """
    leaves = ops.flatten(theta)
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

            width = 3e-3 * max(1.0, float(np.linalg.norm(x)))
            estimates = [(4 * central(h / 2) - central(h)) / 3 for h in (width, width / 3, width / 10)]
            exact = float((g * direction).sum())
            # The best of three widths: too wide bends, too narrow rounds.
            worst = max(worst, min(abs(e - exact) for e in estimates) / max(abs(exact), 1e-12))
        yield name, worst
