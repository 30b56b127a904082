"""Is the best method predicted, and is task similarity right? Over drawn cases: `melpa bench recommend`"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...core.types import Episode
from ...errors import DataError
from ...evaluation.curves import summary
from ...evaluation.timing import timed
from ...personal.examples import distinct
from ...recommendation.recommend import MOST, Measures, left_out, measured
from ...recommendation.similarity import embedded
from ...store import atomic as disk
from . import report as report
from .settings import Settings

Advance = Callable[..., None]
TRIED = 3
"""Cases that an estimate measures, of different sources where there are as many."""


@dataclass(frozen=True)
class Case:
    """One drawn episode: what each candidate came to on its queries (`truth`) and on its left out examples.

    `embeddings` (d,) are the first run's, of the support set.
    """

    source: str
    queries: int
    truth: Measures
    left_out: Measures
    embeddings: dict[str, np.ndarray]


def recommend(settings: Settings, advance: Advance = lambda *_: None) -> dict[str, Any]:
    """Measures the cases that are not done yet and sums up all; each goes to `out` as it comes.

    Raises MelpaError where `out` holds cases of other settings, or where nothing is known in a case.
    """
    refuse(settings)
    folder, cases = settings.begin(), []
    for number in range(settings.cases):
        found = read(folder, number)
        advance(0, "done before" if found else settings.source(number))
        if found is None:
            found = measure(settings, settings.source(number), settings.episode(number))
            write(folder, number, found)
        cases.append(found)
        advance(1)
    told = report.summed(cases, settings)
    disk.replace_text(folder / "recommend.json", json.dumps(told, indent=1) + "\n")
    disk.replace_text(folder / "table.md", report.markdown(told))
    if find_spec("matplotlib"):
        report.draw(told, folder)
    return told


def measure(settings: Settings, source: str, episode: Episode) -> Case:
    """What the candidates come to on a case, and what a recommendation is made of."""
    truth, guess = (asking(settings, drawn) for drawn in ([episode], known(episode)))
    vectors = {name: found[0] for name, found in embedded(settings.runs[0], [episode]).items()}
    return Case(source, len(episode.query), truth, guess, vectors)


def known(episode: Episode) -> list[Episode]:
    """What a recommendation asks about: as many examples of the support as it takes, with the labels that they have."""
    used = distinct(episode.support)[:MOST]
    there = {example.label for example in used}
    return left_out(used, tuple(label for label in episode.labels if label in there), episode.about)


def refuse(settings: Settings) -> None:
    """Raises DataError for a case that a recommendation could ask nothing about, before any is measured."""
    for number in range(settings.cases):
        if not known(settings.episode(number)):
            raise DataError(
                f"case {number}, of {settings.source(number)}: among the {MOST} examples that are used at most, no "
                "label has two different ones, so none can be left out; give more --shots, fewer --ways, other --tasks"
            )


def asking(settings: Settings, asked: Sequence[Episode]) -> Measures:
    """The mean measures of each candidate, in their order."""
    found: Measures = {}
    for run in settings.runs:
        own = {method: name for name, (method, of) in settings.candidates.items() if of is run}
        told, _ = measured(run, asked, tuple(own))
        found |= {own[method]: summary(each, "accuracy") for method, each in told.items()}
    return {name: found[name] for name in settings.candidates}


def estimate(settings: Settings) -> dict[str, Any]:
    """Seconds of the cases that are not done yet, by parts, from a few of them. Writes nothing."""
    settings.refuse()
    refuse(settings)
    left = sum(settings.out is None or read(settings.out, number) is None for number in range(settings.cases))
    few = [settings.episode(number) for number in range(min(TRIED, settings.cases))]
    parts = {"the truth": 0.0, "left out examples": 0.0, "task embeddings": 0.0}
    asking(settings, few[:1])  # warms up
    embedded(settings.runs[0], few[:1])
    for episode in few:
        work = (
            partial(asking, settings, [episode]),
            partial(asking, settings, known(episode)),
            partial(embedded, settings.runs[0], [episode]),
        )
        spent = [timed(part)[1] for part in work]
        for name, seconds in zip(parts, spent, strict=True):
            parts[name] += seconds / len(few) * left
    return {"seconds": sum(parts.values()), "parts": parts}


def read(folder: Path, number: int) -> Case | None:
    """A case that was measured; None where it was not."""
    file = folder / "cases" / f"{number:04}.json"
    if not file.is_file():
        return None
    with np.load(file.with_suffix(".npz")) as stored:
        embeddings = {name: stored[name].astype(np.float64) for name in stored.files}
    return Case(**json.loads(file.read_text(encoding="utf-8")), embeddings=embeddings)


def write(folder: Path, number: int, case: Case) -> None:
    """Writes a case; one whose numbers are there is whole."""
    file = folder / "cases" / f"{number:04}.json"
    vectors: dict[str, Any] = {name: vector.astype(np.float32) for name, vector in case.embeddings.items()}
    disk.replace(file.with_suffix(".npz"), lambda path: np.savez(path, **vectors))
    told = {name: value for name, value in asdict(case).items() if name != "embeddings"}
    disk.replace_text(file, json.dumps(told, indent=1) + "\n")
