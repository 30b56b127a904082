"""What a benchmark of recommendations is told: runs, sources of cases, methods; and what its folder refuses"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...core.types import Episode
from ...data.readers import read_examples
from ...errors import DataError, MelpaError
from ...evaluation.baselines.in_context import possible
from ...recommendation.recommend import METHODS
from ...store import atomic as disk
from ...store.run import Run
from ...tasks.episodes import LabelledTasks, gather
from ...tasks.splits import unseen


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Cases are drawn from `sources` in turn, so that the same number comes of each; `out` holds those measured."""

    runs: tuple[Run, ...]
    sources: Mapping[str, LabelledTasks]
    cases: int = 120
    methods: tuple[str, ...] = METHODS
    neighbours: int = 5
    seed: int = 0
    notes: tuple[str, ...] = ()
    out: Path | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown:
            raise MelpaError(f"--methods: '{unknown[0]}' is no method; choose from {', '.join(METHODS)}")
        check_runs(self.runs)
        if len(self.candidates) < 2:
            raise MelpaError("with one candidate there is nothing to predict; name more --methods or runs")
        if self.cases < 3:
            raise MelpaError(f"--cases {self.cases}: one is left out and others have to differ; give 3 at least")

    @cached_property
    def candidates(self) -> dict[str, tuple[str, Run]]:
        """By name the method and the run that it is asked of; what needs no run's theta is asked of the first."""
        named = [run.name for run in self.runs]
        found = {name: (name, self.runs[0]) for name in METHODS if name in self.methods and name != "adapt"}
        if not find_spec("sklearn"):
            found.pop("logistic_regression", None)
        if possible(self.runs[0].composed, [self.episode(0)]):
            found.pop("in_context", None)
        for run in self.runs if "adapt" in self.methods else ():
            name = run.name if named.count(run.name) == 1 else str(run.folder)
            found[f"adapt {name}"] = ("adapt", run)
        return found

    @property
    def impossible(self) -> tuple[str, ...]:
        """The methods asked for that can't be measured here."""
        there = {method for method, _ in self.candidates.values()}
        return tuple(name for name in METHODS if name in self.methods and name not in there)

    def source(self, case: int) -> str:
        """The source that a case is drawn from."""
        return list(self.sources)[case % len(self.sources)]

    def episode(self, case: int) -> Episode:
        """Draws a case; the same for everyone with this seed, however many cases there are."""
        return self.sources[self.source(case)].episode(np.random.default_rng([self.seed, 8, case]))

    def identity(self) -> dict[str, Any]:
        """What cases of one folder have in common."""
        drawn = repr([(name, tasks.groups) for name, tasks in self.sources.items()])
        first = next(iter(self.sources.values()))
        return {
            "candidates": {name: [method, run.fingerprint] for name, (method, run) in self.candidates.items()},
            "sources": list(self.sources),
            "examples": sha256(drawn.encode()).hexdigest()[:16],
            **{name: getattr(first, name) for name in ("ways", "shots", "queries")},
            "seed": self.seed,
        }

    def begin(self) -> Path:
        """Writes what cases have in common; raises MelpaError without a folder, or where it holds other cases."""
        if self.out is None:
            raise MelpaError("where shall cases and results go? Give --out DIR (or --estimate, which writes nothing)")
        self.refuse()
        disk.replace_text(self.out / "settings.json", json.dumps(self.identity(), indent=1) + "\n")
        return self.out

    def refuse(self) -> None:
        """Raises MelpaError where the folder holds cases of other settings."""
        file = self.out / "settings.json" if self.out else None
        if file is None or not file.is_file():
            return
        there, here = json.loads(file.read_text(encoding="utf-8")), self.identity()
        other = next((key for key in here if there.get(key) != here[key]), None)
        if other:
            raise MelpaError(f"{self.out} holds cases with other {other} than asked for now; give another --out")


def check_runs(runs: Sequence[Run]) -> None:
    """Refuses runs that give no labels, or are not all of one base."""
    for run in runs:
        if run.composed.model is None or not run.composed.readout.classifies:
            raise MelpaError(f"run '{run.name}' gives no labels, and cases are told by labels; leave it out")
        known, first = run.info["base"], runs[0].info["base"]
        if (known["family"], known["weights"]) != (first["family"], first["weights"]):
            raise MelpaError(
                f"run '{run.name}' has base '{known['name']}', and '{runs[0].name}' another, '{first['name']}'; name "
                "runs of one base"
            )


def sources(
    files: Sequence[str], seen: Mapping[str, Sequence[str]], *, label: str | None = None, **sizes: int
) -> tuple[dict[str, LabelledTasks], tuple[str, ...]]:
    """The sources in FILE or FILE:GROUP, where each value of the field GROUP is one, and notes.

    `seen` is by run what its training saw: no source is left out for it, but a note tells. Raises DataError.
    """
    found: dict[str, LabelledTasks] = {}
    notes: list[str] = []
    familiar: dict[str, list[str]] = {name: [] for name in seen}
    for given in files:
        path, group = parted(given)
        records = read_examples(path, group=group, label=label)
        tasks = gather(records, **sizes)
        if not isinstance(tasks, LabelledTasks):
            raise DataError(f"--tasks {given}: its rows have no labels; name their field with --label")
        place = Path(path).expanduser().resolve()
        notes += [f"{given}: {note}" for note in tasks.left_out]
        for key in tasks.names:
            name = "/".join(part for part in (place.parent.name, place.name.split(".")[0], key) if part)
            if name in found:
                raise DataError(f"--tasks {given}: source '{name}' is there already; name each once")
            found[name] = tasks.only([key]) if tasks.kind == "group" else tasks
            own = [record for record in records if (record.group or "") == key]
            for run, marks in seen.items():
                if len(unseen(own, marks)[0]) < len(own):
                    familiar[run].append(name)
    for run, names in familiar.items():
        if names:
            notes.append(f"training of {run} saw tasks of {len(names)} of {len(found)} sources: {', '.join(names)}")
    return found, tuple(notes)


def parted(given: str) -> tuple[str, str | None]:
    """FILE and GROUP of FILE or FILE:GROUP."""
    path, colon, group = given.rpartition(":")
    return (path, group) if colon and group and not Path(given).expanduser().exists() else (given, None)
