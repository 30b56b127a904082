"""The uniform sampler: every task is equally likely."""

import numpy as np

from ..core.protocols import Sampler, Score
from ..core.types import AnyEpisode, Tasks


class Uniform(Sampler):
    """Draws episodes uniformly; draw i of an iteration depends only on (seed, iteration, i)."""

    def next(
        self, tasks: Tasks, seed: int, iteration: int, count: int, score: Score | None = None, progress: float = 0.0
    ) -> list[AnyEpisode]:
        """Draws `count` episodes; the first ones do not depend on `count`."""
        return [tasks.episode(np.random.default_rng([seed, iteration, i])) for i in range(count)]


def uniform() -> Uniform:
    """Makes the sampler that gives every task the same chance.

    Use it when nothing speaks against it: `curriculum` gained nothing on simulated people.
    Not when hard tasks spoil the first iterations: try `curriculum`.
    """
    return Uniform()
