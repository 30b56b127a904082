"""Conjugate gradients for many rows at once, each its own system: A_t x_t = b_t with A_t symmetric."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..core.engine import Engine
from ..core.types import Array


class Solution(NamedTuple):
    """The solution x (T, P), its residuals |b - A x| / |b| (T,), and the rows with a curvature p'Ap <= 0 (T,)."""

    x: Array
    residuals: np.ndarray
    negative: np.ndarray


def solve(ops: Engine, product: Callable[[Array], Array], b: Array, iterations: int, tolerance: float) -> Solution:
    """Solves for rows b (T, P) by at most so many products of all rows (Hestenes and Stiefel 1952).

    A row stops where its residual is `tolerance` of |b|, and where its matrix turns out not to be positive definite. It
    keeps the x of its least residual, zeros if none is below |b|: near a singular matrix later ones may be huge.
    """
    best = x = ops.zeros_like(b)
    rest = along = b
    whole = least = left = _dots(ops, b, b)
    negative = np.zeros(len(whole), bool)
    for _ in range(iterations):
        wanted = ~negative & (left > tolerance**2 * whole)
        if not np.any(wanted):
            break
        times = product(along)
        curve = _dots(ops, along, times)
        negative = negative | (wanted & (curve <= 0))
        moving = wanted & ~negative
        rate = _column(ops, np.where(moving, left / np.where(moving, curve, 1), 0))
        x, rest = x + rate * along, rest - rate * times
        now = _dots(ops, rest, rest)
        along = rest + _column(ops, np.where(moving, now / np.where(moving, left, 1), 0)) * along
        best = ops.where(_column(ops, now < least) > 0, x, best)
        left, least = now, np.minimum(now, least)
        ops.evaluate(x, best, rest, along)
    return Solution(best, np.sqrt(least / np.where(whole > 0, whole, 1)), negative)


def _dots(ops: Engine, a: Array, b: Array) -> np.ndarray:
    """The dot products (T,) of rows."""
    return np.asarray(ops.numpy((a * b).sum(-1)), np.float64)


def _column(ops: Engine, values: np.ndarray) -> Array:
    return ops.array(values.reshape(-1, 1))


def solve_exactly(product: Callable[[np.ndarray], np.ndarray], b: np.ndarray, most: int = 200) -> np.ndarray:
    """Solves for all rows (T, P) as one symmetric system in float64, without preconditions: for verification."""
    x, rest = np.zeros_like(b), np.array(b)
    along = np.array(rest)
    for _ in range(most):
        times, left = product(along), (rest * rest).sum()
        rate = left / (along * times).sum()
        x, rest = x + rate * along, rest - rate * times
        if (rest * rest).sum() <= 1e-13 * (b * b).sum():
            break
        along = rest + (rest * rest).sum() / left * along
    return x
