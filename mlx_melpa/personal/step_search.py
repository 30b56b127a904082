"""The number of inner steps for one user: the held-out loss after 0, 1, ... steps, and fewer steps to fall back on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.microbatches import chunks
from ..core.types import Batch, Episode, State
from ..data.tokens import TOKENS
from ..store.run import Run
from .examples import UserExamples
from .predict import Fit
from .train import Watch, train, with_memories

MIN_LIMIT = 4
"""Steps that the search may always go up to."""
PATIENCE, MIN_GAIN = 3, 0.01
"""The search ends after PATIENCE steps that did not lower the best loss by this share of it."""

Steps = int | Literal["auto"]
Measures = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class StepSearch:
    """The best number of steps, the held-out fit after 0, 1, ... steps, and the numbers of steps to try in turn."""

    steps: int
    fits: tuple[Fit, ...]
    candidates: tuple[int, ...]


def choose_steps(run: Run, data: UserExamples, steps: Steps = "auto") -> StepSearch:
    """The number of steps with the lowest held-out loss, or `steps`; the run's own number without folds.

    "auto" measures up to twice the run's steps, MIN_LIMIT at least, and ends where the loss falls no more. It takes no
    step where the previous version has class means: they belong to its row, and a changed row no longer fits them.
    Only runs trained on streams have learned to take steps then. After a previous version, half of the steps and so on
    are candidates too.
    """
    if steps == "auto" and data.memory and not run.trained_on_streams:
        steps = 0
    most = max(2 * run.steps, MIN_LIMIT) if steps == "auto" else steps
    fits = held_out_fits(run, data, most, early_stopping=steps == "auto") if data.folds else []
    if steps != "auto":
        return StepSearch(steps, tuple(fits), (steps,))
    best = min(range(len(fits)), key=lambda k: fits[k].loss) if fits else run.steps
    candidates = (best,) if data.previous is None else tuple(_halves(best, 0 if data.labels else 1))
    return StepSearch(best, tuple(fits), candidates)


def held_out_fits(run: Run, data: UserExamples, steps: int, *, early_stopping: bool = True) -> list[Fit]:
    """The held-out fit of the folds after 0, 1, ... steps."""
    found = []
    for part in _passes(run, data.folds):
        seen: list[Measures] = []
        users = [data.fold(fold) for fold in part]
        query = with_memories(run, users, run.problem.query(part))
        watch = measuring(run, query, seen, early_stopping and len(part) == len(data.folds))
        train(run, users, (steps,), watch)
        found.append(seen)
    return [_mean_fit(data.folds, [seen[k] for seen in found]) for k in range(min(map(len, found)))]


def base_fit(run: Run, folds: Sequence[Episode]) -> Fit:
    """The fit of the base model to the queries of text folds."""
    measures = []
    row, shared = run.problem.identity()
    for part in _passes(run, folds):
        rows = run.ops.broadcast(row, (len(part), row.shape[1]))
        measures.append(run.problem.measure(rows, run.problem.query(part), shared))
    return _mean_fit(folds, measures)


def measuring(run: Run, query: Batch, seen: list[Measures], early_stopping: bool) -> Watch:
    """Measures every state on a query batch; with `early_stopping` it ends the steps where the loss falls no more."""

    def watch(_: int, state: State) -> bool:
        seen.append(run.problem.measure(state["rows"], query, run.shared))
        losses = [float(measures["loss"].mean()) for measures in seen]
        before, recent = losses[:-PATIENCE], losses[-PATIENCE:]
        return not (early_stopping and before and min(recent) > (1 - MIN_GAIN) * min(before))

    return watch


def _halves(steps: int, least: int) -> Iterator[int]:
    """A number of steps, then half of it and so on."""
    yield steps
    while steps > least:
        steps //= 2
        yield steps


def _passes(run: Run, folds: Sequence[Episode]) -> list[Sequence[Episode]]:
    """The folds in groups whose tokens fit one pass."""
    encoder = run.problem.readout.encoder
    examples = folds[0].support + folds[0].query
    longest = max(len(encoder.whole(" ".join(e.texts))) for e in examples)
    tokens = longest * max(len(fold.support) + len(fold.query) for fold in folds)
    return list(chunks(folds, max(1, TOKENS // tokens)))


def _mean_fit(folds: Sequence[Episode], measures: Sequence[Measures]) -> Fit:
    sizes = [len(fold.query) for fold in folds]

    def mean(name: str) -> float:
        return float(np.average(np.concatenate([m[name] for m in measures]), weights=sizes))

    return Fit(mean("loss"), mean("accuracy") if "accuracy" in measures[0] else None)
