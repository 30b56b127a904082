"""LwF: distils the answers from before a task, among earlier tasks' labels, on the task's own texts."""

import numpy as np

from ....core.types import Array, Batch
from .method import EncodedTask, Initialization, Means, Method, State, WeightedBatches


class Lwf(Method):
    """w_i = the steps on L_i + strength D_j, j < i drawn anew for each step.

    D_j = mean over the new task's training texts of the cross-entropy from p(. | x, w_{i-1}) to p(. | x, w), over the
    labels of task j. Li and Hoiem 2016 sum over all earlier heads, at temperature 2. Here a step takes one head, at
    temperature 1, so that its cost does not grow with the tasks. A head is the candidates' words, or the class means of
    task j. No example is stored.
    """

    strength: float = 1.0

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int, strength: float | None = None):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
        self.soft: dict[str, Batch] = {}
        self.soft_of: tuple[Array, str] = (None, "")

    def batches(self, state: State, now: EncodedTask, rng: np.random.Generator) -> WeightedBatches:
        """The task's batch, and its texts with the earlier row's answers among the labels of an earlier task."""
        names = list(state.labels)
        if not names:
            return super().batches(state, now, rng)
        name = names[rng.integers(len(names))]
        return (1.0, now.support), (self.strength, self.distillation(state, now, name))

    def distillation(self, state: State, now: EncodedTask, name: str) -> Batch:
        """The texts of `now` with soft labels of task `name`, computed once per pair of tasks and row."""
        if self.soft_of[0] is not state.rows or self.soft_of[1] != now.task.name:
            self.soft, self.soft_of = {}, (state.rows, now.task.name)
        if name not in self.soft:
            row, labels, means = self.teacher(state, now, name)
            asked = {**self.problem.ask(now.task.train, labels), **self.as_memory(means)}
            self.count(asked)
            asked["onehot"] = self.problem.predict(row, asked, self.shared)
            self.ops.evaluate(asked["onehot"])
            self.soft[name] = asked
        return self.soft[name]

    def teacher(self, state: State, now: EncodedTask, name: str) -> tuple[Array, tuple[str, ...], Means]:
        """The row whose answers are distilled, the labels of task `name`, and their class means."""
        return state.rows, state.labels[name], state.means[name]
