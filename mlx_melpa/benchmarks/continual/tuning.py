"""Rates and strengths of methods from a random start, tuned with the same number of trials on a separate stream."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .methods.method import Method

STRENGTH_FACTORS = (10.0, 0.1, 100.0, 0.01)
"""Multiples of a method's default strength, in the order in which they are tried."""


class Hyperparameters(NamedTuple):
    """Adam's rate for a random start, and the strength of the penalty or distillation, None for methods without one."""

    lr: float
    strength: float | None = None


def trial_count(method: type[Method], rates: Sequence[float]) -> int:
    """The number of trials of a method: as many as there are rates, 0 where there is nothing to tune."""
    return len(rates) if len(rates) > 1 and method.trains else 0


def tune(method: type[Method], rates: Sequence[float], score: Callable[[Hyperparameters], float]) -> Hyperparameters:
    """The hyperparameters with the highest score.

    A method with a strength takes every other rate at its default strength, then other strengths at the best rate.
    """
    default, total = method.strength, trial_count(method, rates)
    if not total:
        return Hyperparameters(rates[0], default)
    tried = rates if default is None else rates[::2]
    best = max((Hyperparameters(lr, default) for lr in tried), key=score)
    if default is None:
        return best
    others = [Hyperparameters(best.lr, default * factor) for factor in STRENGTH_FACTORS[: total - len(tried)]]
    return max([best, *others], key=score)
