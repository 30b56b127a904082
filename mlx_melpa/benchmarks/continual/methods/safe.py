"""SAFE: a slow row, fixed after the first task, guides a fast row; their answers are mixed by entropy."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....core.types import Array
from .lwf import Lwf
from .method import EncodedTask, Means, State, WeightedBatches


class Safe(Lwf):
    """s = the steps on L_1 + strength D_1(start), then fixed;  w_i = the steps on L_i + strength D_j(s), j <= i.

    p(y | x) = (e^-H_s p_s + e^-H_w p_w) / (e^-H_s + e^-H_w),  H_s and H_w the entropies of the two rows' answers. Zhao
    et al. 2024 hold the slow features to the untrained model's by their correlations, and the fast ones to the slow
    ones by cosines and by scoring each with the other's classifier. Here D_j(t) does both: the mean over the new task's
    training texts of the cross-entropy from the teacher t's answers to the row's, among the labels of task j (drawn
    anew for each step), where both are scored with the class means under t. They mix logits, here probabilities are
    mixed. No example is stored, but class means under both rows.
    """

    def first_row(self, state: State) -> Array:
        """The fast row, at first a copy of the slow one; the initialization before the first task."""
        return state.rows[-1:]

    def row_for(self, state: State, name: str) -> Array:
        """The fast row, where one row is needed."""
        return self.first_row(state)

    def slow(self, state: State) -> Array:
        """The slow row (1, P); the initialization before the first task."""
        return state.rows[:1]

    def batches(self, state: State, now: EncodedTask, rng: np.random.Generator) -> WeightedBatches:
        """The task's batch, and its texts with the slow row's answers among the labels of a task so far."""
        names = [*state.labels, now.task.name]
        return (1.0, now.support), (self.strength, self.distillation(state, now, names[rng.integers(len(names))]))

    def teacher(self, state: State, now: EncodedTask, name: str) -> tuple[Array, tuple[str, ...], Means]:
        """The slow row, the labels of task `name`, and their class means under it."""
        if name not in state.labels:
            return self.slow(state), now.task.labels, self.class_means(self.slow(state), now)
        return self.slow(state), state.labels[name], slow_class_means(state.means[name])

    def add_tasks(self, state: State, row: Array, tasks: Sequence[EncodedTask]) -> State:
        """The state with a slow and a fast row (2, P), and the tasks' class means under both."""
        slow = self.slow(state) if state.labels else row
        learned, means = super().add_tasks(state, row, tasks), dict(state.means)
        for one in tasks:
            fast, under_slow = learned.means[one.task.name], self.class_means(slow, one)
            means[one.task.name] = {**fast, "slow": under_slow["means"]} if under_slow else {}
        return replace(learned, rows=self.ops.concatenate([slow, row], 0), means=means)

    def predict(self, state: State, asked: EncodedTask) -> Array:
        """Probabilities (1, n, N) of a task's labels; those of the initialization before the first task."""
        if not state.labels:
            return super().predict(state, asked)
        means = state.means.get(asked.task.name)
        slow = self.answers(self.slow(state), asked, None if means is None else slow_class_means(means))
        fast = self.answers(self.first_row(state), asked, means)
        both = np.concatenate([self.ops.numpy(answers) for answers in (slow, fast)])
        return self.ops.array(entropy_ensemble(both)[None])

    def trained_parameters(self) -> int:
        """A slow and a fast row."""
        return 2 * super().trained_parameters()


def slow_class_means(means: Means) -> Means:
    """A task's class means under the slow row."""
    return {"means": means["slow"], "counts": means["counts"]} if means else {}


def entropy_ensemble(answers: np.ndarray) -> np.ndarray:
    """Probabilities (n, N): those of several rows (R, n, N), weighted by exp(-entropy)."""
    entropy = -(answers * np.log(np.maximum(answers, 1e-30))).sum(-1, keepdims=True)
    weights = np.exp(-entropy)
    return (weights * answers).sum(0) / weights.sum(0)
