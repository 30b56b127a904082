"""ConPET, dynamic: an adapter for each task, and a selector that picks one for each text."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....core.types import Array
from ....evaluation.baselines.frozen_features import unit
from .method import EncodedTask, State
from .routed import Routed


class ConPetDynamic(Routed):
    """w_i = the steps on L_i from the start;  s_i(x) = 1 for the task i of the class mean nearest to x, else 0.

    Song et al. 2023 train the selector, a small adapter, on stored examples, and join its best few. Here it takes one
    and stores no example: the nearest class mean has the highest cosine between frozen features, centered by the mean
    of all class means. The task's labels are known at test, so a perfect selector gives the answers of `single_task`.
    """

    def add_tasks(self, state: State, row: Array, tasks: Sequence[EncodedTask]) -> State:
        """The state with the class means (N, d), fp16, of the tasks' frozen features."""
        learned = super().add_tasks(state, row, tasks)
        centers = {one.task.name: self.centers(one).astype(np.float16) for one in tasks}
        return replace(learned, statistics={**state.statistics, **centers})

    def centers(self, one: EncodedTask) -> np.ndarray:
        """The mean features (N, d) of a task's classes."""
        x, labels = self.features(one.task.train), np.array([example.label for example in one.task.train])
        return np.stack([x[labels == label].mean(0) for label in one.task.labels if label in labels])

    def routing(self, state: State, x: np.ndarray) -> np.ndarray:
        """1 for the row of the nearest task, else 0."""
        centers = [np.asarray(means, np.float32) for means in state.statistics.values()]
        middle = np.concatenate(centers).mean(0)
        near = np.stack([(unit(x - middle) @ unit(means - middle).T).max(-1) for means in centers], -1)
        return np.eye(len(centers), dtype=np.float32)[near.argmax(-1)]
