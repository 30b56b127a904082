"""What to do with new data: which known run is nearest, and which method answers best on examples that are left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..core.types import Episode, Example
from ..errors import DataError, MelpaError, StoreError
from ..evaluation import curves as evaluate
from ..evaluation.baselines import frozen_features as frozen
from ..evaluation.baselines.in_context import InContext, Trial, possible
from ..personal.examples import check, distinct
from ..personal.history import label_set
from ..store import Store
from ..store.run import Run, classifies, load_run
from .similarity import Similarity, similarity

LEAST, MOST, ASKED = 4, 64, 20
"""Examples at least, those used at most, and those left out in turn at most."""
FIXED: dict[str, frozen.Settings] = {
    "prototypes": {"center": "support", "temperature": 10.0},
    "logistic_regression": {"scale": "standard", "C": 1.0},
}
"""A few examples can't tell settings too."""
METHODS = (*FIXED, "in_context", "adapt")
Measures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Recommendation:
    """`runs`: all that take such data, the most similar first. The rest is of the first one.

    `methods`: per method loss and, with labels, accuracy and F1 on `asked` examples, each left out once, and the 95%
    interval of accuracy or else of the loss; the one to take is `method`. `rank` is None where the adapter has none;
    `folder` is the first run's.
    """

    runs: tuple[tuple[str, Similarity], ...]
    methods: Measures
    method: str
    steps: int
    rank: int | None
    asked: int
    notes: tuple[str, ...]
    folder: str = ""

    @property
    def prompt_is_better(self) -> bool:
        """Says whether a prompt with examples does better than adapting."""
        return "in_context" in self.methods and best(self.methods, ("adapt", "in_context")) == "in_context"


def recommend(store: Store, examples: Sequence[Example], run: str | None = None, seed: int = 0) -> Recommendation:
    """Looks at the runs of the store, or at the one named or in a folder, and at every method under the most similar.

    Raises StoreError where no run takes such examples, DataError where they are too few.
    """
    rng, once = np.random.default_rng([seed, 4]), distinct(examples)
    used = [once[i] for i in rng.permutation(len(once))[:MOST]]
    if len(used) < LEAST:
        raise DataError(f"{len(used)} different examples are too few to compare methods on; give {LEAST} at least")
    labels = label_set(None, used)
    data, notes = Episode("", tuple(used), (), labels), list[str]()
    found: list[tuple[Path, str, Similarity]] = []
    for path in _paths(store, bool(labels), run):
        try:
            opened = load_run(path)
            check(opened, used)
            found.append((path, opened.name, similarity(opened, data, seed)))
            opened.composed.model.detach()
        except MelpaError as error:
            notes.append(f"left out {path}: {error}")
    if not found:
        raise StoreError(notes[0] if notes else "no run is there to compare with")
    found.sort(key=lambda each: -each[2].mean)
    chosen, asked = load_run(found[0][0]), left_out(used, labels)
    if not asked:
        raise DataError("every label has one example only, so none can be left out; give two of each")
    methods, remarks = compared(chosen, asked)
    return Recommendation(
        runs=tuple((name, alike) for _, name, alike in found),
        methods=methods,
        method=best(methods, tuple(methods)),
        steps=chosen.steps,
        rank=getattr(chosen.composed.model.adapter, "rank", None),
        asked=len(asked),
        notes=(*notes, *remarks),
        folder=str(found[0][0]),
    )


def compared(run: Run, asked: Sequence[Episode]) -> tuple[Measures, list[str]]:
    """Every method's measures on the same left out examples, and notes; adapting takes the run's own steps."""
    found, notes = measured(run, asked)
    main = evaluate.main_measure(list(found["adapt"]))
    return {name: evaluate.summary(measures, main) for name, measures in found.items()}, notes


def measured(
    run: Run, asked: Sequence[Episode], methods: Sequence[str] = METHODS
) -> tuple[dict[str, evaluate.Curves], list[str]]:
    """Measures, each (E,), of those methods that are possible, on episodes of the same examples, and notes."""
    composed, notes = run.composed, list[str]()
    found: dict[str, Mapping[str, np.ndarray]] = {}
    fixed = [name for name in FIXED if name in methods] if composed.readout.classifies else []
    known = frozen.features(composed, composed.unchanged(), asked[:1], {}) if fixed else {}
    for name in fixed:
        if name == "logistic_regression" and not find_spec("sklearn"):
            notes.append("logistic regression was left out: it needs pip install 'mlx-melpa[baselines]'")
            continue
        found[name] = frozen.measure(name, FIXED[name], asked, known, np.zeros(0))
    if "in_context" in methods:
        why = possible(composed, asked)
        if why:
            notes.append(f"no prompt with examples was tried: {why}")
        else:
            shown = max(Counter(e.label for e in asked[0].support).values())
            found["in_context"] = InContext(composed).measure(asked, Trial(shown))
    if "adapt" in methods:
        curves, _ = evaluate.curves(composed.parts, run.theta, asked, run.steps, at=[run.steps])
        found["adapt"] = {name: values[0] for name, values in curves.items()}
    # Engines count in single precision, in which equal shares of right answers would differ from those counted here.
    return {m: {n: v.astype(np.float64) for n, v in measures.items()} for m, measures in found.items()}, notes


def best(methods: Measures, names: Sequence[str]) -> str:
    """The method with the highest accuracy, then the lowest loss; adapting where both are equal."""

    def worth(name: str) -> tuple[float, float, bool]:
        return methods[name].get("accuracy", 0.0), -methods[name]["loss"], name.startswith("adapt")

    return max(names, key=worth)


def left_out(examples: Sequence[Example], labels: tuple[str, ...], about: str = "") -> list[Episode]:
    """Episodes that ask about one example each, with all others as support; the only one of a label is never asked.

    `about` describes the person or task.
    """
    counts = Counter(e.label for e in examples)
    asked = [e for e in examples if e.label is None or counts[e.label] > 1][:ASKED]
    return [Episode("", tuple(o for o in examples if o is not e), (e,), labels, about) for e in asked]


def _paths(store: Store, labelled: bool, run: str | None) -> list[Path]:
    """The folders of runs that take such examples."""
    if run is not None:
        folder = Path(run).expanduser()
        return [folder if folder.is_dir() else store.run(run).path]
    known = [found.path for found in store.runs() if (found.path / "theta.safetensors").is_file()]
    fitting = [path for path in dict.fromkeys(known) if classifies(path) == labelled]
    if not fitting:
        what, tasks = ("labelled examples", "") if labelled else ("text without labels", " --tasks TEXTS")
        raise StoreError(f"no known run takes {what}; make one with: melpa prepare pocket{tasks}")
    return fitting
