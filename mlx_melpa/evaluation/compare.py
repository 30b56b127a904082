"""A meta-trained run beside the baselines, all measured on the same unseen episodes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from ..core.atomic import replace_text
from ..core.progress import Advance, silent
from ..core.types import Json
from ..errors import MelpaError
from ..store.run import Run
from . import text_overlap
from .curves import Measured, episodes, harm, summary
from .evaluation import Evaluation
from .methods import BEST, METHODS, SAME, Method, Plan, Settings, measure
from .settings import COMPARED, CompareSettings
from .unseen_tasks import TaskSets

VALIDATION_SEED = 1_000_003
"""Added to the seed for the validation episodes: endless tasks would give the test episodes again."""


@dataclass
class Comparison:
    """`results` by method, as `melpa eval --json` prints them; `curves` {title: (steps, means of the main measure)}."""

    main: str
    results: Json = field(default_factory=dict)
    curves: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)


def compare(run: Run, tasks: TaskSets, settings: CompareSettings, advance: Advance = silent) -> Comparison:
    """Measures the run and the baselines on the same episodes.

    Baselines are tuned on training tasks, and their settings kept in the run's baselines.json. Classifiers are left out
    if the run writes text. `advance` counts test episodes. Raises MelpaError if a method can't be measured.
    """
    evaluation = Evaluation(
        setup=run.setup,
        theta=run.theta,
        test=episodes(tasks.test, settings.episodes, settings.seed),
        validation=episodes(tasks.splits.train, settings.tuning_episodes, settings.seed + VALIDATION_SEED),
        steps=run.setup.learner.steps if settings.steps is None else settings.steps,
        seed=settings.seed,
        tasks_per_pass=settings.tasks_per_pass,
        advance=advance,
    )
    if settings.generate:
        text_overlap.check_packages()
        if run.setup.model is None or evaluation.classifies:
            raise MelpaError("--generate: this run writes no text; leave it out")
    chosen = [METHODS[name] for name in COMPARED if name in settings.methods]
    chosen = [method for method in chosen if evaluation.classifies or not method.needs_labels]
    tuned = _tuned(run.folder, evaluation, [METHODS["base"], *chosen])
    plans = {
        (name, variant): Plan(
            METHODS[name], each, settings.curves and variant == (BEST if METHODS[name].tunes_steps else SAME)
        )
        for name, variants in tuned.items()
        for variant, each in variants.items()
    }
    measured = measure(evaluation, plans)
    out = Comparison(evaluation.main)
    for method in chosen:
        of_variants = {}
        for variant, each in tuned[method.name].items():
            found = measured[method.name, variant]
            of_variants[variant] = _result(evaluation, method, each, found, measured["base", SAME])
            if settings.generate:
                texts = method.write(evaluation, each, evaluation.test[: settings.generate])
                of_variants[variant] |= text_overlap.means(texts)
            if plans[method.name, variant].every_step and method.adapts:
                out.curves[method.title] = list(found.steps), found.means(out.main)
        best = {"best": of_variants[BEST]} if BEST in of_variants else {}
        out.results[method.name] = {**of_variants[SAME], **best}
    out.results["notes"] = list(tasks.notes)
    return out


def _tuned(folder: Path, evaluation: Evaluation, methods: Sequence[Method]) -> dict[str, dict[str, Settings]]:
    """The settings of each method's variants, by method."""
    cache = _Cache(folder / "baselines.json", evaluation)
    tuned = {}
    for method in methods:
        reason = method.lacks(evaluation)
        if reason:
            raise MelpaError(f"--methods: {method.name} is not possible here: {reason}; name others")
        tune = partial(method.tune, evaluation)
        tuned[method.name] = cache.get(method.name, tune) if method.tunes else tune()
    return tuned


def _result(evaluation: Evaluation, method: Method, settings: Settings, found: Measured, base: Measured) -> Json:
    """The means of one variant; of methods that adapt also their settings, seconds and the harm done."""
    result: Json = summary(found.last, evaluation.main)
    if not method.adapts:
        return result
    seconds = found.seconds / max(1, found.episodes)
    return {**result, "seconds_per_task": seconds, **harm(found.last, base.last, evaluation.main), **settings}


class _Cache:
    """Tuned settings in a JSON file, under a hash of the validation episodes, the steps and the seed."""

    def __init__(self, path: Path, evaluation: Evaluation):
        tuned_on = (evaluation.validation, evaluation.steps, evaluation.seed)
        self.path, self.key = path, sha256(repr(tuned_on).encode()).hexdigest()[:16]

    def get(self, name: str, make: Callable[[], dict[str, Settings]]) -> dict[str, Settings]:
        """The settings of a method, which `make` gives if they are not there yet."""
        stored = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        if name not in stored.get(self.key, {}):
            stored.setdefault(self.key, {})[name] = make()
            replace_text(self.path, json.dumps(stored, indent=1) + "\n")
        found: dict[str, Settings] = stored[self.key][name]
        return found
