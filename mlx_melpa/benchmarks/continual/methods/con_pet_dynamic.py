"""ConPET, dynamic: an adapter for each task, and a selector that picks one for each text."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....core.types import Array
from ....evaluation.baselines.frozen_features import unit
from .method import Lesson, Start, State
from .routed import Routed


class ConPetDynamic(Routed):
    """w_i = the steps on L_i from the start;  s_i(x) = 1 for the task i of the class mean nearest to x, else 0.

    Song et al. 2023 train the selector, a small adapter, on stored examples, and join its best few; here it takes one,
    and stores no example: nearest is the highest cosine between features of the frozen start (see `frozen.py`), less
    the mean of all class means. As the task is known at test, a perfect selector makes this `separate`; where it errs,
    another task's row chooses among the right candidates.
    """

    def known(self, state: State, row: Array, lessons: Sequence[Lesson]) -> State:
        """The state with the class means (N, d), fp16, of the tasks' frozen features."""
        found = super().known(state, row, lessons)
        centers = {one.task.name: self.centers(one).astype(np.float16) for one in lessons}
        return replace(found, statistics={**state.statistics, **centers})

    def centers(self, one: Lesson) -> np.ndarray:
        """The mean features (N, d) of a task's classes."""
        x, labels = self.features(one.task.train), np.array([example.label for example in one.task.train])
        return np.stack([x[labels == label].mean(0) for label in one.task.labels if label in labels])

    def shares(self, state: State, x: np.ndarray) -> np.ndarray:
        """1 for the nearest task's row, else 0."""
        centers = [np.asarray(found, np.float32) for found in state.statistics.values()]
        middle = np.concatenate(centers).mean(0)
        near = np.stack([(unit(x - middle) @ unit(found - middle).T).max(-1) for found in centers], -1)
        return np.eye(len(centers), dtype=np.float32)[near.argmax(-1)]


def con_pet_dynamic(start: Start, *, steps: int, seed: int, tasks: int) -> ConPetDynamic:
    """Builds dynamic ConPET."""
    return ConPetDynamic(start, steps=steps, seed=seed, tasks=tasks)
