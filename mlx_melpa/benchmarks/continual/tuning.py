"""Rates and strengths of methods from a random start, tuned with equally many trials on a stream kept apart."""

from collections.abc import Callable

from .settings import Settings, Trial, kind

FACTORS = (10.0, 0.1, 100.0, 0.01)


def first(settings: Settings, name: str) -> Trial:
    """The trial that stands where nothing is tuned: the first rate, the method's own strength."""
    return Trial(settings.rates[0], kind(name).strength)


def count(settings: Settings, name: str) -> int:
    """How many trials a method takes."""
    return len(settings.rates) if len(settings.rates) > 1 and kind(name).learns else 0


def best(settings: Settings, name: str, worth: Callable[[str, Trial], float]) -> Trial:
    """The best of as many trials as there are rates.

    A method with a strength takes every other rate at its own strength, then other strengths at the best of them.
    """
    own, total = kind(name).strength, count(settings, name)
    if not total:
        return first(settings, name)
    rates = settings.rates if own is None else settings.rates[::2]
    found = max((Trial(lr, own) for lr in rates), key=lambda trial: worth(name, trial))
    if own is None:
        return found
    others = [Trial(found.lr, own * factor) for factor in FACTORS[: total - len(rates)]]
    return max([found, *others], key=lambda trial: worth(name, trial))
