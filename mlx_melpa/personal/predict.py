"""What a stored version answers: probabilities of the labels of its user."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.class_means import recall
from ..core.microbatches import chunks
from ..core.types import Example
from ..errors import DataError
from ..store import Version
from ..store.run import Run

AT_ONCE = 64


def probabilities(
    run: Run, state: Mapping[str, np.ndarray], examples: Sequence[Example], labels: tuple[str, ...]
) -> np.ndarray:
    """Probabilities (n, N) of labels, those of a version's state first, by what that kept."""
    problem: Any = run.composed.parts.problem
    ops, memory = run.composed.parts.ops, recall(state, labels)
    rows = ops.array(run.rows(state["rows"]))
    given = {name: ops.array(value) for name, value in memory.items()}
    return np.concatenate([problem.answer(rows, part, labels, given) for part in chunks(examples, AT_ONCE)])


def answer(run: Run, version: Version, examples: Sequence[Example]) -> np.ndarray:
    """Probabilities (n, N) of the version's labels for texts; raises DataError where it has none."""
    if not version.labels:
        raise DataError(
            f"version {version.number} of '{version.user}' writes text and has no labels; use melpa generate"
        )
    return probabilities(run, version.state, examples, version.labels)
