"""LwF: one row goes on answering the new task's texts, with earlier tasks' labels, as it did before that task."""

import numpy as np

from ....core.bounds import Positive
from ....core.types import Array, Batch
from .method import Lesson, Means, Method, Start, State, Weighted


class Lwf(Method):
    """w_i = the steps on L_i + strength D_j, j < i drawn anew for each step.

    D_j = mean over the new task's training texts of the cross-entropy from p(. | x, w_{i-1}) to p(. | x, w), over the
    labels of task j. Li and Hoiem 2016 sum over all earlier heads, at temperature 2; here one head a step is taken (a
    step costs the same however many tasks there were), at temperature 1. A head is what an adapter has: the candidates'
    words, or the class means of task j. No example is stored.
    """

    strength: float = 1.0

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, strength: float):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
        self.asked: dict[tuple[str, str], Batch] = {}
        self.taught: tuple[Array, str] = (None, "")

    def batches(self, state: State, now: Lesson, rng: np.random.Generator) -> Weighted:
        """The task's batch, and its texts with the answers of the row before, among the labels of an earlier task."""
        names = list(state.labels)
        if not names:
            return super().batches(state, now, rng)
        name = names[rng.integers(len(names))]
        return (1.0, now.support), (self.strength, self.distilled(state, now, name))

    def distilled(self, state: State, now: Lesson, name: str) -> Batch:
        """The task's texts with soft labels of task `name`, made once for each pair and row."""
        if self.taught[0] is not state.rows or self.taught[1] != now.task.name:
            self.asked, self.taught = {}, (state.rows, now.task.name)
        if (now.task.name, name) not in self.asked:
            row, labels, means = self.teacher(state, now, name)
            asked = {**self.problem.ask(now.task.train, labels), **self.recalled(means)}
            asked["onehot"] = self.problem.predict(row, asked)
            self.ops.evaluate(asked["onehot"])
            self.asked[now.task.name, name] = asked
        return self.asked[now.task.name, name]

    def teacher(self, state: State, now: Lesson, name: str) -> tuple[Array, tuple[str, ...], Means]:
        """Whose answers are learned: a row, the labels of task `name`, and their class means."""
        return state.rows, state.labels[name], state.means[name]


def lwf(start: Start, *, steps: int, seed: int, tasks: int, strength: Positive = Lwf.strength) -> Lwf:
    """Builds LwF with the `strength` of its distillation."""
    return Lwf(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
