"""How well a stored version fits a file, beside the base model."""

from collections.abc import Sequence
from math import log
from typing import TypedDict

from ..core.types import Example
from ..errors import DataError
from ..evaluation.perplexity import measure_texts
from ..store import Version
from ..store.run import Run
from .examples import check
from .predict import answer, engine_rows, measure_labels


class Score(TypedDict):
    """Measures by name of the base and of the version, on a number of examples."""

    base: dict[str, float]
    adapted: dict[str, float]
    examples: int
    notes: list[str]


def score(run: Run, version: Version, examples: Sequence[Example]) -> Score:
    """Measures the base and a version on examples.

    Labels: loss (nats), accuracy and f1, where the base is chance among the user's labels; examples with a label that
    the version lacks are left out and counted. Text: loss, perplexity and bits_per_byte. Raises DataError.
    """
    check(run, examples)
    if version.labels:
        return _labelled(run, version, examples)
    rows, shared = run.problem.identity()
    return {
        "base": measure_texts(run.problem, rows, examples, shared),
        "adapted": measure_texts(run.problem, engine_rows(run, [version.state]), examples, run.shared),
        "examples": len(examples),
        "notes": [],
    }


def _labelled(run: Run, version: Version, examples: Sequence[Example]) -> Score:
    labels = version.labels
    known = [e for e in examples if e.label in labels]
    if not known:
        raise DataError(
            f"no example has a label of '{version.user}' ({', '.join(labels)}); adapt to such examples first"
        )
    found = measure_labels(answer(run, version, known), known, labels)
    unknown = len(examples) - len(known)
    return {
        "base": {"loss": log(len(labels)), "accuracy": 1 / len(labels)},
        "adapted": {name: float(values[0]) for name, values in found.items()},
        "examples": len(known),
        "notes": [f"left out {unknown} examples with a label that '{version.user}' has not learned"] if unknown else [],
    }
