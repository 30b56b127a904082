"""A curriculum from easy to hard episodes: GB-MOA's, by the entropy of the predictions before adaptation."""

from math import cos, pi
from typing import Literal

import numpy as np

from ..core.bounds import Count
from ..core.protocols import Score
from ..core.types import AnyEpisode, Tasks
from .uniform import Uniform


class Curriculum(Uniform):
    """Selects `count` of pool x count candidates, adjacent in the order of difficulty.

    M candidates are sorted from easy to hard; ties keep the order of their draws. With the progress p from 0 to 1, the
    selection begins at place round((M - count) (1 - cos(pi p)) / 2): the easiest at the first iteration, the hardest at
    the last. Candidate i is draw i of the uniform sampler.
    """

    def __init__(self, by: str, pool: int):
        self.by, self.pool = by, pool

    def next(
        self, tasks: Tasks, seed: int, iteration: int, count: int, score: Score | None = None, progress: float = 0.0
    ) -> list[AnyEpisode]:
        """Draws the candidates and selects `count`, easiest first; without a score, the first `count` draws."""
        if score is None or self.pool == 1:
            return super().next(tasks, seed, iteration, count)
        candidates = super().next(tasks, seed, iteration, self.pool * count)
        order = np.argsort(score(candidates, self.by), kind="stable")
        first = round((len(order) - count) * (1 - cos(pi * progress)) / 2)
        return [candidates[i] for i in order[first : first + count]]


def curriculum(*, by: Literal["entropy", "loss"] = "entropy", pool: Count = 4) -> Curriculum:
    """Makes the sampler that goes from easy to hard episodes over meta-training.

    An episode is as hard as the mean entropy (nats) of what the model says about its support set before it adapts: of
    the supervised tokens, or of the labels. A problem that predicts numbers has no entropy: there, and with `by: loss`,
    it is as hard as its loss before it adapts.

    Use it when tasks differ much in difficulty, and training is unsettled at the start.
    Not when time counts: every candidate costs a forward pass.

    by: entropy of the answers, or loss on the support set.
    pool: candidates that are drawn and scored for each task.
    """
    return Curriculum(by, pool)
