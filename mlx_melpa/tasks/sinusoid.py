"""Sine curves to regress: the closed check of the learners."""

from dataclasses import dataclass

import numpy as np

from ..core.bounds import Count, Share
from ..core.types import Splits, Tasks


@dataclass(frozen=True)
class SinusoidEpisode:
    """One curve's points, float32: support (S, 1), query (Q, 1)."""

    x_support: np.ndarray
    y_support: np.ndarray
    x_query: np.ndarray
    y_query: np.ndarray


class SinusoidTasks(Tasks):
    """Endless curves y = A sin(w x - b)."""

    def __init__(self, *, shots: int, queries: int, spread: float):
        self.shots, self.queries, self.spread = shots, queries, spread

    def episode(self, rng: np.random.Generator) -> SinusoidEpisode:
        """Draws A in U(0.1, 5), b in U(0, pi), w in U(1 - spread, 1 + spread) and x in U(-5, 5)."""
        amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0.0, np.pi)
        frequency = rng.uniform(1 - self.spread, 1 + self.spread)
        x = rng.uniform(-5.0, 5.0, (self.shots + self.queries, 1))
        y = amplitude * np.sin(frequency * x - phase)
        x, y = x.astype(np.float32), y.astype(np.float32)
        return SinusoidEpisode(x[: self.shots], y[: self.shots], x[self.shots :], y[self.shots :])


def sinusoid(*, shots: Count = 5, queries: Count = 10, spread: Share = 0.0) -> Splits:
    """Simulates curves of Finn et al. 2017 (spread 0), or of Li et al. 2017, Meta-SGD (spread 0.2), without end.

    All three splits draw from one distribution, as in the papers: the generator passed in makes the difference.

    Use it when a learner or rule is to be checked in seconds, with problem `regression`.
    Not when the result should say anything about language.

    shots: support points.
    queries: query points.
    spread: frequencies lie between 1 - spread and 1 + spread.
    """
    tasks = SinusoidTasks(shots=shots, queries=queries, spread=spread)
    return Splits(tasks, tasks, tasks)
