"""What an adaptation came to: the version to store, what it did to new and earlier examples, and remarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.types import Example
from ..store import Version
from ..store.run import Run
from .acceptance import UNKNOWN, General
from .cross_validation import Fit


@dataclass(frozen=True)
class Outcome:
    """What an adaptation came to.

    version: what to store. before, after: the fit to examples held out, where `folds` says in how many parts; with
    folds 0 the fit to the examples themselves. curve: held-out losses (nats) after 0, 1, ... steps. better: says
    whether the new version shall answer; `reason` says why. notes: what a person should know. earlier: the fit to
    `judging` kept examples before and after, which the steps did not see; `rehearsed` are those that they saw. new:
    the examples that no version had learned. general: general ability.
    """

    version: Version
    steps: int
    before: Fit
    after: Fit
    curve: tuple[float, ...]
    folds: int
    better: bool
    reason: str
    seconds: float
    notes: tuple[str, ...]
    earlier: tuple[Fit, Fit] | None = None
    general: General = UNKNOWN
    judging: int = 0
    rehearsed: int = 0
    new: tuple[Example, ...] = ()


def described(run: Run) -> dict[str, Any]:
    """What opens a version again that no run made: its adapter and readout; nothing for one with a run."""
    if run.fingerprint:
        return {}
    resolved = run.composed.recipe.resolved
    return {"random_start": True, "adapter": resolved["adapter"], "readout": resolved["readout"]}


def version_of(
    run: Run,
    state: Mapping[str, np.ndarray],
    labels: tuple[str, ...],
    count: int,
    metrics: Mapping[str, Any],
    about: str = "",
) -> Version:
    """A version of a state that was adapted with a run; `count` is the number of examples, `about` describes whose."""
    base = run.composed.base
    return Version(
        state,
        run.composed.layout,
        base.family,
        base.name,
        base.weights,
        run.fingerprint or None,
        "adapt",
        count,
        labels,
        metrics,
        about,
    )


def remarks(given: int, distinct: int, new: int, seen: tuple[int, int], previous: Version | None) -> list[str]:
    """What a person should know of how many of their examples count, and of how many of how many the steps see."""
    notes = []
    if distinct < given:
        notes.append(f"{given - distinct} of {given} examples are there twice and count once")
    if previous is not None and new < distinct:
        notes.append(
            f"version {previous.number} has learned {distinct - new} of {distinct} examples already: they count no more"
        )
    if seen[0] < seen[1]:
        notes.append(
            f"the steps see {seen[0]} of {seen[1]} examples (class means see all); melpa meta-train makes use of many"
        )
    return notes
