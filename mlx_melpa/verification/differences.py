"""Relative errors of a gradient: beside another one, and beside finite differences."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from ..core.engine import Engine
from ..core.types import Tree

Loss = Callable[[Tree], float]
ROUNDING = 1e-7
"""Relative rounding of a float32 loss."""
WIDTHS = 4.0 ** np.arange(2.0, -3.0, -1.0) / 4.0
"""Widths of the central differences, in units of one that moves the loss by a thousandth."""


def relative_errors(gradient: Tree, wanted: Tree, ops: Engine) -> dict[str, float]:
    """|gradient - wanted| / |wanted| by leaf; 0 where both vanish."""
    errors, found = dict[str, float](), dict(ops.flatten(gradient))
    for name, leaf in ops.flatten(wanted):
        x, y = (np.asarray(ops.numpy(array), np.float64) for array in (found[name], leaf))
        away = float(np.linalg.norm(x - y))
        errors[name] = away / max(float(np.linalg.norm(y)), 1e-12) if away > 1e-12 else 0.0
    return errors


def slope_errors(
    loss: Loss, theta: Tree, gradient: Tree, ops: Engine, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """By leaf: the relative error of the slope along a direction that leans on the gradient.

    So the slope stands well above rounding. It counts for at least what rounding makes of a quotient.
    """
    leaves, slopes, value = ops.flatten(theta), dict(ops.flatten(gradient)), loss(theta)
    for place, (name, leaf) in enumerate(leaves):
        x, g = (np.asarray(ops.numpy(array), np.float64) for array in (leaf, slopes[name]))
        noise = rng.standard_normal(x.shape)
        direction = g / max(float(np.linalg.norm(g)), 1e-12) + 0.5 * noise / np.linalg.norm(noise)
        direction /= np.linalg.norm(direction)

        def moved(h: float, place: int = place, x: np.ndarray = x, direction: np.ndarray = direction) -> float:
            values = [leaf for _, leaf in leaves]
            values[place] = ops.array(x + h * direction)
            return loss(ops.rebuild(theta, values))

        yield name, _slope_error(moved, float((g * direction).sum()), value, max(1.0, float(np.linalg.norm(x))))


def _slope_error(moved: Callable[[float], float], exact: float, value: float, size: float) -> float:
    """The least relative error over widths: too wide a difference bends, too narrow a one rounds."""
    width = float(np.clip(1e-3 * abs(value) / max(abs(exact), 1e-12), 1e-3 * size, 0.2 * size))
    slopes = [(h, (moved(h) - moved(-h)) / (2 * h)) for h in (width * WIDTHS).tolist()]
    errors = []
    for (h, wide), (narrow_h, narrow) in pairwise(slopes):
        ratio = (h / narrow_h) ** 2
        extrapolated = (ratio * narrow - wide) / (ratio - 1)  # Richardson
        errors.append(abs(extrapolated - exact) / max(abs(exact), 300 * ROUNDING * abs(value) / h, 1e-12))
    return float(min(errors))
