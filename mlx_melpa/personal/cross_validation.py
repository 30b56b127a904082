"""Cross-validation on one person's examples, its folds as rows of one pass."""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from ..core import inner_loop as adapt
from ..core.class_means import remembering
from ..core.microbatches import chunks
from ..core.protocols import Parts
from ..core.types import Array, Batch, Episode, Example, State, Tree
from ..data.tokens import TOKENS

FOLDS = 3
"""Three have half the work of five and choose as well: after ten notes of each of 40 simulated people, accuracy on
their next messages was 0.3 +- 0.7 points higher."""
PATIENCE, WORTH = 3, 0.01
"""The search for the number of steps ends after PATIENCE steps that did not lower the best loss by this share of it."""


class Fit(NamedTuple):
    """The loss (nats) on examples held out, and the accuracy where there are labels; NaN where nothing is judged."""

    loss: float
    accuracy: float | None


def measured(value: float | None) -> float | None:
    """A measure as a version keeps it: None where nothing was judged."""
    return None if value is None or isnan(value) else value


def deal(
    examples: Sequence[Example],
    new: Container[Example],
    labels: tuple[str, ...],
    rng: np.random.Generator,
    about: str = "",
) -> list[Episode]:
    """Deals new examples into folds, each the query of one episode whose support is all the rest.

    There are FOLDS, or as many as can be asked about if that is fewer, stratified by label. The only example of a label
    is never asked about: nothing would be left to know it by.
    Gives no episodes where fewer than two examples can be asked about.
    """
    counts = Counter(e.label for e in examples)
    mixed = [examples[i] for i in rng.permutation(len(examples))]
    asked = sorted(
        (e for e in mixed if e in new and (e.label is None or counts[e.label] > 1)), key=lambda e: e.label or ""
    )
    count = min(FOLDS, len(asked))
    folds = [asked[i::count] for i in range(count)] if count > 1 else []
    return [
        Episode(f"fold {i}", tuple(e for e in mixed if e not in fold), tuple(fold), labels, about)
        for i, fold in enumerate(folds)
    ]


def curve(
    parts: Parts,
    theta: Tree,
    folds: Sequence[Episode],
    steps: int,
    *,
    rows: Array | None = None,
    carried: Mapping[str, np.ndarray] | None = None,
    memory: Mapping[str, np.ndarray] | None = None,
    patient: bool = True,
) -> list[Fit]:
    """The held-out fit after 0, 1, ... steps, from rows (1, P) or else from the initializer.

    `memory` is what the readout kept of earlier examples, `carried` what the regularizer took from the task before.
    With `patient` the curve ends early where it falls no more.
    """
    problem: Any = parts.problem
    found: list[list[Mapping[str, np.ndarray]]] = []
    for part in _passes(problem, folds):
        support, query = (remembering(parts, batch, memory) for batch in problem.prepare(part))
        before = {name: parts.ops.array(np.repeat(value, len(part), 0)) for name, value in (carried or {}).items()}
        repeated = None if rows is None else parts.ops.broadcast(rows, (len(part), rows.shape[1]))
        state = begin(parts, theta, support, rows=repeated, carried=before)
        seen: list[Mapping[str, np.ndarray]] = []
        watch = _watch(problem, query, seen, patient and len(part) == len(folds))
        adapt.adapt(parts, theta, support, steps, state=state, watch=watch)
        found.append(seen)
    sizes = np.array([len(fold.query) for fold in folds], np.float64)
    return [_fit([seen[k] for seen in found], sizes) for k in range(min(map(len, found)))]


def begin(
    parts: Parts,
    theta: Tree,
    support: Batch,
    *,
    rows: Array | None = None,
    carried: Tree | None = None,
    heard: Batch | None = None,
) -> State:
    """What people's steps begin from: rows, or the initializer's, with temperatures that fit all that was `heard`.

    That is the support where nothing else is given. Temperatures are found before the first step: what steps were
    taken on says no more how sure one may be of the rest.
    """
    problem: Any = parts.problem
    state = adapt.begin(parts, theta, support) if rows is None else adapt.resume(parts, rows, carried)
    return {**state, "rows": problem.calibrated(state["rows"], support if heard is None else heard)}


def _watch(problem: Any, query: Batch, seen: list[Any], patient: bool) -> Callable[[int, State], bool]:
    def watch(_: int, state: State) -> bool:
        seen.append(problem.measure(state["rows"], query))
        losses = [float(measures["loss"].mean()) for measures in seen]
        before, lately = losses[:-PATIENCE], losses[-PATIENCE:]
        return not (patient and before and min(lately) > (1 - WORTH) * min(before))

    return watch


def _passes(problem: Any, folds: Sequence[Episode]) -> list[Sequence[Episode]]:
    encoder = problem.readout.encoder
    texts = [
        " ".join((e.text, e.target or "", *(text for _, text in e.messages))) for e in folds[0].support + folds[0].query
    ]
    longest = max(len(encoder.whole(text)) for text in texts)
    tokens = longest * max(len(fold.support) + len(fold.query) for fold in folds)
    return list(chunks(folds, max(1, TOKENS // tokens)))


def _fit(measures: Sequence[Mapping[str, np.ndarray]], sizes: np.ndarray) -> Fit:
    def mean(name: str) -> float:
        return float(np.average(np.concatenate([m[name] for m in measures]), weights=sizes))

    return Fit(mean("loss"), mean("accuracy") if "accuracy" in measures[0] else None)
