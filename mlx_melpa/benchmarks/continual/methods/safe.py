"""SAFE: a slow row that stays as the first task left it, and a fast one that it guides; the surer one answers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....core.bounds import Positive
from ....core.types import Array
from .lwf import Lwf
from .method import Lesson, Means, Start, State, Weighted


class Safe(Lwf):
    """s = the steps on L_1 + strength D_1(start), then fixed;  w_i = the steps on L_i + strength D_j(s), j <= i.

    p(y | x) = (e^-H_s p_s + e^-H_w p_w) / (e^-H_s + e^-H_w),  H_s and H_w the entropies of the two rows' answers. Zhao
    et al. 2024 hold the slow features to the untrained model's by their correlations, and the fast ones to the slow
    ones by cosines and by scoring each with the other's classifier. Here D_j(t) does both: the mean over the new task's
    training texts of the cross-entropy from the teacher t's answers to the row's, among the labels of task j (drawn
    anew for each step), where both are scored with the class means under t. They mix logits, here probabilities are
    mixed. No example is stored, but class means under both rows.
    """

    def first(self, state: State) -> Array:
        """The fast row, which was the slow one's copy; the start at first."""
        return state.rows[-1:]

    def row(self, state: State, name: str) -> Array:
        """The fast row, where one alone is asked."""
        return self.first(state)

    def slow(self, state: State) -> Array:
        """The row (1, P) that guides: the start at first."""
        return state.rows[:1]

    def batches(self, state: State, now: Lesson, rng: np.random.Generator) -> Weighted:
        """The task's batch, and its texts with the slow row's answers, among the labels of a task so far."""
        names = [*state.labels, now.task.name]
        return (1.0, now.support), (self.strength, self.distilled(state, now, names[rng.integers(len(names))]))

    def teacher(self, state: State, now: Lesson, name: str) -> tuple[Array, tuple[str, ...], Means]:
        """The slow row, the labels of task `name`, and their class means under it."""
        if name not in state.labels:
            return self.slow(state), now.task.labels, self.means(self.slow(state), now)
        return self.slow(state), state.labels[name], of_slow(state.means[name])

    def known(self, state: State, row: Array, lessons: Sequence[Lesson]) -> State:
        """The state with a slow and a fast row (2, P), and the tasks' class means under both."""
        slow = self.slow(state) if state.labels else row
        found, means = super().known(state, row, lessons), dict(state.means)
        for one in lessons:
            fast, under = found.means[one.task.name], self.means(slow, one)
            means[one.task.name] = {**fast, "slow": under["means"]} if under else {}
        return replace(found, rows=self.ops.concatenate([slow, row], 0), means=means)

    def predict(self, state: State, asked: Lesson) -> Array:
        """Probabilities (1, n, N) of a task's labels; the start's while nothing is learned."""
        if not state.labels:
            return super().predict(state, asked)
        rows, kept = (self.slow(state), self.first(state)), state.means.get(asked.task.name)
        both = [self.means(row, asked) for row in rows] if kept is None else [of_slow(kept), kept]
        asks = ({**asked.test, **self.recalled(means)} for means in both)
        answers = [self.ops.numpy(self.problem.predict(row, ask)) for row, ask in zip(rows, asks, strict=True)]
        return self.ops.array(surest(np.concatenate(answers))[None])

    def trainable(self) -> int:
        """A slow and a fast row."""
        return 2 * super().trainable()


def of_slow(means: Means) -> Means:
    """A task's class means under the slow row."""
    return {"means": means["slow"], "counts": means["counts"]} if means else {}


def surest(answers: np.ndarray) -> np.ndarray:
    """Probabilities (n, N): those of several rows (R, n, N), weighted by e to the power of less their entropy."""
    entropy = -(answers * np.log(np.maximum(answers, 1e-30))).sum(-1, keepdims=True)
    weights = np.exp(-entropy)
    return (weights * answers).sum(0) / weights.sum(0)


def safe(start: Start, *, steps: int, seed: int, tasks: int, strength: Positive = Safe.strength) -> Safe:
    """Builds SAFE with the `strength` of what the slow row asks of the fast one."""
    return Safe(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
