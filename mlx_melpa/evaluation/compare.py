"""A run on unseen tasks beside everything that is not meta-learned, all on the same episodes."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config.recipe import Recipe
from ..core import atomic as disk
from ..core.types import Splits, Tasks
from ..data.readers import read_examples
from ..errors import DataError, MelpaError
from ..store.run import Run
from ..tasks.episodes import EpisodeSettings, gather
from ..tasks.splits import unseen
from . import curves as evaluate
from . import text_overlap as overlap
from .baselines import frozen_features as frozen
from .baselines import random_start
from .baselines.in_context import InContext, Trial, possible
from .curves import Curves
from .methods import METHODS, USUAL

VALIDATION = 60
APART = 1_000_003
"""Added to the seed of the validation episodes: endless tasks would draw the test's own again."""
Bar = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]


@contextmanager
def no_bar(label: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Shows nothing."""
    yield lambda count=1, text="": None


def tasks_of(
    run: Run,
    files: str | Path | Sequence[str | Path] | None = None,
    *,
    group: str | None = None,
    label: str | None = None,
    **sizes: int | None,
) -> tuple[Tasks, Tasks, tuple[str, ...]]:
    """The tasks to judge on, those to tune baselines on, and notes on what was left out.

    Without `files` the run's own test tasks. `sizes` are ways, shots, queries, where they differ from the run's. Raises
    DataError where files hold no task that training has not seen.
    """
    held, splits, notes = tasks_for(run.composed.recipe, run.info["seen"], files, group=group, label=label, **sizes)
    return held, splits.train, notes


def tasks_for(
    recipe: Recipe,
    seen: Collection[str],
    files: str | Path | Sequence[str | Path] | None = None,
    *,
    group: str | None = None,
    label: str | None = None,
    **sizes: int | None,
) -> tuple[Tasks, Splits, tuple[str, ...]]:
    """The tasks to judge a recipe on, its own splits at these sizes, and notes; `seen` is what its training saw.

    `group` and `label` are fields of the files, the recipe's unless given; an empty group says that none makes tasks.
    """
    settings = recipe.settings("tasks")
    settings |= {name: size for name, size in sizes.items() if size is not None and name in settings}
    splits: Splits = recipe.replace(tasks={"kind": recipe.kind("tasks"), **settings}).make("tasks")
    if files is None:
        return splits.test, splits, splits.notes
    group = (settings.get("group") if group is None else group) or None
    records = read_examples(files, group=group, label=label or settings.get("label"), about=settings.get("about"))
    kept, notes = unseen(records, seen)
    if not kept:
        raise DataError(
            f"training saw every task of {files}: nothing is left to judge on; give --tasks a file with new ones"
        )
    of_tasks = {name: sizes.get(name) or settings.get(name, 5) for name in ("ways", "shots", "queries")}
    tasks = gather(kept, EpisodeSettings(**of_tasks))
    return tasks, splits, (*notes, *tasks.left_out)


@dataclass
class Comparison:
    """What `compare` finds: `results`, what `melpa eval --json` prints, and `curves` {method: (steps, means)}."""

    results: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    main: str = ""


def compare(
    run: Run,
    tasks: Tasks,
    training: Tasks,
    *,
    episodes: int = 600,
    steps: int | None = None,
    seed: int = 0,
    methods: Sequence[str] = USUAL,
    notes: Sequence[str] = (),
    curves: bool = False,
    tasks_per_pass: int = 4,
    tuning_episodes: int = VALIDATION,
    generate: int = 0,
    bar: Bar = no_bar,
) -> Comparison:
    """Measures the run after `steps` inner steps (default: its own) and the baselines on the same `episodes`.

    base: the frozen model with the readout at its start; prototypes and logistic_regression on the frozen
    features; in_context, where it is asked for, the support set written before each question; a random start with Adam
    (see `random_start`). What they choose is chosen on `tuning_episodes` of `training` and kept in the run's
    baselines.json. Those on features are left out where the readout does not classify. On the first `generate` episodes
    a text is written, and held against the person's own words (see `overlap`). Raises MelpaError.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise MelpaError(f"--methods: '{unknown[0]}' is no method; choose from {', '.join(METHODS)}")
    if generate:
        overlap.check_packages()
        if run.composed.model is None or run.composed.readout.classifies:
            raise MelpaError("--generate: this run writes no text; leave it out")
    drawn = evaluate.episodes(tasks, episodes, seed)
    checks = evaluate.episodes(training, tuning_episodes, seed + APART)
    job = _Job(run, drawn, checks, run.composed.learner.steps if steps is None else steps, seed, tasks_per_pass, bar)
    out = Comparison(main=job.main)
    classifies = job.main == "accuracy"
    job.generate = generate
    for name in METHODS:
        if name not in methods or (name in frozen.METHODS and not classifies):
            continue
        if name == "base":
            out.results[name] = {**job.told(job.base), **job.written(job.start, 0, random_start.RATES[0])}
        elif name in frozen.METHODS:
            out.results[name] = job.told(job.on_features(name))
        elif name == "in_context":
            out.results[name] = job.in_context()
        elif name == "random_start":
            out.results[name] = job.random_start(curves, out)
        else:
            out.results[name] = job.meta(curves, out)
    out.results["notes"] = list(notes)
    return out


class _Job:
    """One comparison under way."""

    def __init__(self, run: Run, drawn: list[Any], checks: list[Any], steps: int, seed: int, per_pass: int, bar: Bar):
        self.run, self.drawn, self.checks, self.steps, self.seed = run, drawn, checks, steps, seed
        self.per_pass, self.bar, self.generate = per_pass, bar, 0
        self.composed = run.composed
        self.start = self.composed.baseline(random_start.RATES[0]).begin(seed)
        found, _ = self.curves("base", self.composed.baseline(random_start.RATES[0]), self.start, [0])
        self.base = at(found, 0)
        self.main = evaluate.main_measure(list(self.base))
        self.cache = _Cache(run.folder, _key(checks, steps, seed))
        self.features: frozen.Features = {}
        self.middle = np.zeros(0)

    def curves(self, label: str, composed: Any, theta: Any, steps: list[int]) -> tuple[Curves, float]:
        with self.bar(label, len(self.drawn)) as advance:
            return evaluate.curves(
                composed.parts, theta, self.drawn, steps[-1], at=steps, tasks_per_pass=self.per_pass, advance=advance
            )

    def told(self, measures: Mapping[str, np.ndarray]) -> dict[str, float]:
        return evaluate.summary(dict(measures), self.main)

    def on_features(self, name: str) -> dict[str, np.ndarray]:
        if not self.features:
            rows = self.composed.baseline(1e-3).parts.initializer.make(self.start["initializer"], {}, 1)
            with self.bar("frozen features", None) as advance:
                frozen.features(self.composed, rows, self.checks, self.features, advance)
                self.middle = np.mean(list(self.features.values()), axis=0)
                frozen.features(self.composed, rows, self.drawn, self.features, advance)
        settings = self.cache.get(name, lambda: frozen.tune(name, self.checks, self.features, self.middle))
        return frozen.measure(name, settings, self.drawn, self.features, self.middle)

    def written(self, theta: Any, steps: int, lr: float | None = None) -> dict[str, float]:
        """BLEU and ROUGE-L after steps from a start, with Adam where there is a rate; nothing if not asked for."""
        if not self.generate:
            return {}
        composed = self.composed if lr is None else self.composed.baseline(lr)
        with self.bar("writing", None):
            return overlap.means(overlap.adapted(composed, theta, self.drawn[: self.generate], steps))

    def in_context(self) -> dict[str, float]:
        network = self.composed.model is None
        why = "there is no language model" if network else possible(self.composed, self.drawn)
        if why:
            raise MelpaError(f"--methods: in_context is not possible here: {why}; name others")
        asked = InContext(self.composed)
        shots = max(max(Counter(e.label for e in each.support).values()) for each in self.checks)
        with self.bar("examples in context", None):
            trial = Trial(*self.cache.get("in_context", lambda: list(asked.tune(self.checks, shots, self.main))))
            told = self.told(asked.measure(self.drawn, trial))
            drawn = self.drawn[: self.generate]
            return {**told, **(overlap.means(overlap.in_context(asked, drawn, trial.examples)) if drawn else {})}

    def random_start(self, every: bool, out: Comparison) -> dict[str, Any]:
        def tuned() -> list[list[float]]:
            with self.bar("tuning the random start", None) as advance:
                chosen = random_start.tune(
                    self.composed,
                    self.checks,
                    self.steps,
                    self.seed,
                    self.main,
                    per_pass=self.per_pass,
                    advance=advance,
                )
            return [list(choice) for choice in chosen]

        fixed, best = (random_start.Choice(lr, int(k)) for lr, k in self.cache.get("random_start", tuned))
        told = []
        for choice in (fixed, best):
            usual = random_start.marks(choice.steps, choice.steps) if every and choice is best else [choice.steps]
            composed = self.composed.baseline(choice.lr)
            found, seconds = self.curves(f"random start, rate {choice.lr:g}", composed, self.start, sorted({0, *usual}))
            ends = at(found, -1)
            told.append({**self.told(ends), **self.harm(ends), "seconds_per_task": seconds, **choice._asdict()})
            told[-1] |= self.written(self.start, choice.steps, choice.lr)
            if every and choice is best:
                out.curves["random start"] = sorted({0, *usual}), means(found[self.main])
        return {**told[0], "best": told[1]}

    def meta(self, every: bool, out: Comparison) -> dict[str, Any]:
        steps = list(range(self.steps + 1)) if every else sorted({0, self.steps})
        found, seconds = self.curves("meta-learned", self.composed, self.run.theta, steps)
        if every:
            out.curves["meta-learned"] = steps, means(found[self.main])
        ends = at(found, -1)
        told = {**self.told(ends), "seconds_per_task": seconds, **self.harm(ends), "steps": self.steps}
        return {**told, **self.written(self.run.theta, self.steps)}

    def harm(self, measures: dict[str, np.ndarray]) -> dict[str, float]:
        return evaluate.harm(measures, self.base, self.main)


def at(curves: Curves, row: int) -> dict[str, np.ndarray]:
    """The measures (E,) of one row of curves."""
    return {name: values[row] for name, values in curves.items()}


def means(values: np.ndarray) -> list[float]:
    """Means over episodes of values (K, E)."""
    return [float(v) for v in values.mean(1)]


class _Cache:
    """What was tuned for one kind of episode, in the run's baselines.json."""

    def __init__(self, folder: Path, key: str):
        self.path, self.key = folder / "baselines.json", key

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        whole = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        if name not in whole.get(self.key, {}):
            whole.setdefault(self.key, {})[name] = make()
            disk.replace_text(self.path, json.dumps(whole, indent=1) + "\n")
        return whole[self.key][name]


def _key(checks: list[Any], steps: int, seed: int) -> str:
    """Names the validation episodes by their sizes; one run has one set of training tasks."""
    sizes = sorted(
        {(len(getattr(e, "labels", ())), len(getattr(e, "support", ())), len(getattr(e, "query", ()))) for e in checks}
    )
    return f"{len(checks)} episodes {sizes}, steps {steps}, seed {seed}"
