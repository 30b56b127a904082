"""Recommends a run and a method for new data: by task similarity, and by leave-one-out on the data itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.types import Episode, Example
from ..errors import DataError, MelpaError, StoreError
from ..evaluation.baselines.in_context import shots_of
from ..evaluation.curves import summary
from ..evaluation.evaluation import Evaluation
from ..evaluation.methods import METHODS, Plan, Settings, measure
from ..personal.examples import check, distinct
from ..personal.history import label_set
from ..personal.resolve import finished_runs, run_folder
from ..store import Store
from ..store.run import Run, classifies, load_run
from .similarity import Similarity, similarity

MIN_EXAMPLES, MAX_EXAMPLES, MAX_HELD_OUT = 4, 64, 20
"""Examples at least, those used at most, and those left out in turn at most."""
CLASSIFIERS: dict[str, Settings] = {
    "prototypes": {"center": "support", "temperature": 10.0},
    "logistic_regression": {"scale": "standard", "C": 1.0},
}
"""Their settings: so few examples can't tune them."""
JSON_NAMES = {"meta": "adapt"}
"""Methods by the names that results have here."""
Results = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Recommendation:
    """Runs and methods for new data. `runs`: all that take such data, the most similar first; the rest is of the first.

    methods: per method loss and, with labels, accuracy and F1 on `held_out` examples, each left out once, and the 95%
    interval of the main measure. method: the recommended one. rank: None for an adapter without one. folder: that of
    the first run.
    """

    runs: tuple[tuple[str, Similarity], ...]
    methods: Results
    method: str
    steps: int
    rank: int | None
    held_out: int
    notes: tuple[str, ...]
    folder: str = ""

    @property
    def in_context_is_better(self) -> bool:
        """True if a prompt with examples does better than adapting."""
        return "in_context" in self.methods and best(self.methods, ("adapt", "in_context")) == "in_context"

    def to_json(self) -> dict[str, object]:
        """What `melpa recommend --json` prints."""
        runs = [
            {"run": name, "similarity": alike.mean, "embeddings": alike.embeddings, "tasks": list(alike.tasks)}
            for name, alike in self.runs
        ]
        return {
            "recommended": {"run": self.runs[0][0], "method": self.method, "steps": self.steps, "rank": self.rank},
            "runs": runs,
            "methods": self.methods,
            "held_out": self.held_out,
            "in_context_is_better": self.in_context_is_better,
            "notes": list(self.notes),
        }


def recommend(store: Store, examples: Sequence[Example], run: str | None = None, seed: int = 0) -> Recommendation:
    """Compares the runs of the store, or the one named or in a folder, and all methods with the most similar run.

    Raises StoreError if no run takes such examples, DataError if they are too few.
    """
    rng, once = np.random.default_rng([seed, 4]), distinct(examples)
    used = [once[i] for i in rng.permutation(len(once))[:MAX_EXAMPLES]]
    if len(used) < MIN_EXAMPLES:
        raise DataError(
            f"{len(used)} different examples are too few to compare methods on; give {MIN_EXAMPLES} at least"
        )
    labels = label_set(None, used)
    data, notes = Episode("", tuple(used), (), labels), list[str]()
    found: list[tuple[Path, str, Similarity]] = []
    for path in _paths(store, bool(labels), run):
        try:
            opened = load_run(path)
            check(opened, used)
            found.append((path, opened.name, similarity(opened, data, seed)))
            opened.setup.model.detach()
        except MelpaError as error:
            notes.append(f"left out {path}: {error}")
    if not found:
        raise StoreError(notes[0] if notes else "no run is there to compare with")
    found.sort(key=lambda each: -each[2].mean)
    chosen, held_out = load_run(found[0][0]), leave_one_out(used, labels)
    if not held_out:
        raise DataError("every label has one example only, so none can be left out; give two of each")
    methods, remarks = compared(chosen, held_out)
    return Recommendation(
        runs=tuple((name, alike) for _, name, alike in found),
        methods=methods,
        method=best(methods, tuple(methods)),
        steps=chosen.steps,
        rank=chosen.setup.model.adapter.rank,
        held_out=len(held_out),
        notes=(*notes, *remarks),
        folder=str(found[0][0]),
    )


def compared(run: Run, held_out: Sequence[Episode]) -> tuple[Results, list[str]]:
    """The measures of every method on the same examples, and notes; adapting takes the run's own steps."""
    evaluation = Evaluation(run.setup, run.theta, held_out, steps=run.steps)
    settings = {**CLASSIFIERS, "in_context": {"examples": shots_of(held_out[:1])}, "meta": {"steps": run.steps}}
    plans, notes = {}, list[str]()
    for name, chosen in settings.items():
        method = METHODS[name]
        if method.needs_labels and not evaluation.classifies:
            continue
        reason = method.lacks(evaluation)
        if reason:
            notes.append(f"{method.title}: left out: {reason}")
        else:
            plans[JSON_NAMES.get(name, name)] = Plan(method, chosen)
    found = measure(evaluation, plans)
    # Engines count in single precision, in which equal shares of right answers would differ between methods.
    precise = {m: {name: v.astype(np.float64) for name, v in each.last.items()} for m, each in found.items()}
    return {name: summary(measures, evaluation.main) for name, measures in precise.items()}, notes


def best(methods: Results, names: Sequence[str]) -> str:
    """The method with the highest accuracy, then the lowest loss; adapting if both are equal."""

    def worth(name: str) -> tuple[float, float, bool]:
        return methods[name].get("accuracy", 0.0), -methods[name]["loss"], name.startswith("adapt")

    return max(names, key=worth)


def leave_one_out(examples: Sequence[Example], labels: tuple[str, ...]) -> list[Episode]:
    """Episodes with one query each and all other examples as support; the only example of a label is no query."""
    counts = Counter(e.label for e in examples)
    queries = [e for e in examples if e.label is None or counts[e.label] > 1][:MAX_HELD_OUT]
    return [Episode("", tuple(other for other in examples if other is not e), (e,), labels) for e in queries]


def _paths(store: Store, labelled: bool, run: str | None) -> list[Path]:
    """The folders of runs that take such examples."""
    if run is not None:
        return [run_folder(store, run)]
    fitting = [found.path for found in finished_runs(store) if classifies(found.path) == labelled]
    if not fitting:
        what, tasks = ("labelled examples", "") if labelled else ("text without labels", " --tasks TEXTS")
        raise StoreError(f"no known run takes {what}; make one with: melpa prepare pocket{tasks}")
    return fitting
