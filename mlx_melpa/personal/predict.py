"""Predictions of a stored version: probabilities of a user's labels, and the loss of a state on examples."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import isnan
from typing import NamedTuple

import numpy as np

from ..core.class_means import load_class_means
from ..core.microbatches import chunks
from ..core.types import Array, Episode, Example
from ..errors import DataError
from ..problems.language import classified
from ..store import UserState, Version
from ..store.run import Run

BATCH_SIZE = 64
"""Texts that are labelled in one pass."""


class Fit(NamedTuple):
    """Loss (nats) and, for labels, accuracy on some examples; NaN where no example can be measured."""

    loss: float
    accuracy: float | None


def engine_rows(run: Run, states: Sequence[UserState]) -> Array:
    """The stored rows of T users as one array (T, P) of the run's engine."""
    return run.ops.array(np.concatenate([state.rows for state in states]).astype(np.float32))


def answer(run: Run, version: Version, examples: Sequence[Example]) -> np.ndarray:
    """Probabilities (n, N) of the version's labels for texts. Raises DataError for a version without labels."""
    if not version.labels:
        raise DataError(
            f"version {version.number} of '{version.user}' writes text and has no labels; use melpa generate"
        )
    return probabilities(run, version.state, examples, version.labels)


def probabilities(run: Run, state: UserState, examples: Sequence[Example], labels: tuple[str, ...]) -> np.ndarray:
    """Probabilities (n, N) of labels, the state's own first, under its row and class means."""
    rows = engine_rows(run, [state])
    memory = {name: run.ops.array(value) for name, value in load_class_means(state.class_means, labels).items()}
    answer = partial(run.problem.answer, rows, labels=labels, memory=memory, shared=run.shared)
    return np.concatenate([answer(examples=part) for part in chunks(examples, BATCH_SIZE)])


def evaluate_state(run: Run, state: UserState, examples: Sequence[Example], labels: tuple[str, ...]) -> Fit:
    """Loss and accuracy of a state on labelled examples, or the loss on text.

    A label without any learned example counts as a guess of probability 1 / N, and as wrong.
    """
    if not labels:
        batch = run.problem.support([Episode("", tuple(examples), ())])
        return fits(run.problem.measure(engine_rows(run, [state]), batch, run.shared))[0]
    found = probabilities(run, state, examples, labels)
    if state.counts is not None:
        learned = {label for label, count in zip(labels, state.counts, strict=False) if count}
        found[[e.label not in learned for e in examples]] = 1 / len(labels)
    return fits(measure_labels(found, examples, labels))[0]


def measure_labels(found: np.ndarray, examples: Sequence[Example], labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Loss, accuracy and F1, each (1,), of probabilities (n, N) of n labelled examples."""
    onehot = np.array([[label == e.label for label in labels] for e in examples], np.float32)
    return classified(found[None], onehot[None], np.ones((1, len(examples))))


def fits(measures: Mapping[str, np.ndarray]) -> list[Fit]:
    """The loss and accuracy of each of T tasks, from a problem's measures."""
    losses = measures["loss"].tolist()
    accuracies = measures["accuracy"].tolist() if "accuracy" in measures else [None] * len(losses)
    return [Fit(*pair) for pair in zip(losses, accuracies, strict=True)]


def finite(value: float | None) -> float | None:
    """A measure as a version stores it: None instead of NaN."""
    return None if value is None or isnan(value) else value
