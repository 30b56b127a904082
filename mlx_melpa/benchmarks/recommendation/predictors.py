"""Which candidate other cases speak for, and what such choices are worth: E cases, C candidates, their accuracies

A choice learns nothing from its own case (leave one out); with `apart` nothing from any case of the same source either.
Accuracies that differ by less than EQUAL are equal: a best candidate is any that none beats.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ...evaluation.intervals import crossed

EQUAL = 1e-6


def others(sources: Sequence[str], apart: bool = False) -> np.ndarray:
    """Which cases (E, E) each one may learn from: all others, or those of other sources."""
    names = np.array(sources)
    return names[:, None] != names[None] if apart else ~np.eye(len(names), dtype=bool)


def by_mean(accuracy: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The choices (E,): the candidate best on average over the `known` cases (E, E); the first of equal ones."""
    means = known.astype(np.float64) @ accuracy / known.sum(1, keepdims=True)
    return (means >= means.max(1, keepdims=True) - EQUAL).argmax(1)


def by_neighbours(accuracy: np.ndarray, known: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    """The choices (E,): the candidate best on average over the k nearest of the known cases, by distances (E, E)."""
    order = np.where(known, distances, np.inf).argsort(1, kind="stable")[:, :k]
    near = np.zeros_like(known)
    np.put_along_axis(near, order, True, 1)
    return by_mean(accuracy, near & known)


def judged(accuracy: np.ndarray, chosen: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    """Of choices (E,): whether each is a best one, or within one of `queries` (E,) of it, and the accuracy lost."""
    regret = accuracy.max(1) - accuracy[np.arange(len(accuracy)), chosen]
    return {"best": regret < EQUAL, "within_one": regret < 1 / queries + EQUAL, "regret": regret}


def best_ones(accuracy: np.ndarray) -> np.ndarray:
    """Which candidates (E, C) are a best one."""
    return accuracy > accuracy.max(1, keepdims=True) - EQUAL


def same_source(distances: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """Whether the nearest other case (E,) is of the same source; of several as near, the share that is."""
    away = np.where(others(sources), distances, np.inf)
    nearest = away <= away.min(1, keepdims=True) + 1e-12
    same = ~others(sources, apart=True)
    return (nearest & same).sum(1) / nearest.sum(1)


def by_chance(sources: Sequence[str]) -> float:
    """The mean of `same_source` where the nearest other case is any of them."""
    return float((~others(sources, apart=True) & others(sources)).sum() / others(sources).sum())


def over_sources(values: np.ndarray, sources: Sequence[str]) -> Mapping[str, float]:
    """The mean of values (E,) and half the width of its 95% interval: cases of one source are no independent draws.

    The interval is that of the sources' means; with one source alone, that of its cases.
    """
    names = np.array(sources)
    parts = [values[names == name] for name in dict.fromkeys(sources)]
    means = np.array([part.mean() for part in parts]) if len(parts) > 1 else values.astype(np.float64)
    return {"mean": float(values.mean()), "ci95": crossed(means[None])["ci95"]}
