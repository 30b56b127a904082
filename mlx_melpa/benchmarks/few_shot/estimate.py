"""What a few-shot benchmark takes on this machine, by a few iterations, steps and questions of each kind"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ...config.build import Composition, compose, readout_for
from ...core.protocols import Parts
from ...core.types import Tree
from ...evaluation import curves as evaluate
from ...evaluation import text_overlap as overlap
from ...evaluation.baselines import frozen_features as frozen
from ...evaluation.baselines import random_start
from ...evaluation.baselines.in_context import InContext, possible
from ...evaluation.baselines.multi_task import multi_task
from ...evaluation.baselines.random_start import FEW, KEPT, MARKS, RATES
from ...evaluation.timing import timed
from ...training.estimate import estimate as of_training
from .folder import Folder
from .settings import FEATURES, STEPPED, Drawn, Job, Settings

TRIED = 4
"""Episodes that are measured: one pass."""
BEST = 30
"""Steps that a random start is taken to need at its best, which only the search itself can tell."""


def estimate(settings: Settings) -> dict[str, Any]:
    """Seconds of what is not done yet: in all, and by parts. Writes nothing."""
    folder = Folder(settings)
    parts: dict[str, float] = {}
    once: dict[str, float] = {}
    for name in [name for name in folder.runs if not folder.trained(name)]:
        method = name.rsplit(".seed", 1)[0]
        if method not in once:
            once[method] = of_training(folder.recipe(name)).seconds
        _add(parts, f"training {method}", once[method])
    done = folder.done()
    left = [job for job in settings.jobs if job not in done]
    for key, ground in settings.grounds.items():
        jobs = [job for job in left if settings.ground_of(job) == key]
        if not jobs:
            continue
        recipe = multi_task(ground.recipe)
        composed = compose(recipe, readout=readout_for(recipe.make("tasks")))
        try:
            for shots in dict.fromkeys(job.shots for job in jobs):
                same = [job for job in jobs if job.shots == shots]
                for job, seconds in _measuring(settings, composed, folder, same).items():
                    _add(parts, settings.title(job), seconds)
        finally:
            composed.model.detach()
    return {"seconds": sum(parts.values()), "parts": parts}


def _add(parts: dict[str, float], name: str, seconds: float) -> None:
    parts[name] = parts.get(name, 0.0) + seconds


def _measuring(settings: Settings, composed: Composition, folder: Folder, jobs: Sequence[Job]) -> Mapping[Job, float]:
    """Seconds of the jobs of one ground and number of shots; a recipe's steps count as Adam's."""
    drawn, found = settings.drawn[jobs[0].shots], {}
    baseline = composed.baseline(1e-3)
    ready, step, asking = _pace(baseline.parts, baseline.begin(0), drawn)
    writing = 0.0
    if settings.generate:
        _, writing = timed(lambda: overlap.adapted(baseline, baseline.begin(0), drawn.test[:1], 0))
    searched: set[tuple[str, int | None]] = set()
    for job in jobs:
        steps = job.steps or 0
        if job.method == "meta":
            recipe = next(recipe for recipe in settings.recipes if recipe.name == job.of)
            steps = int(recipe.resolved["learner"].get("steps", 0))
        if job.method in STEPPED and job.steps is None:
            steps = BEST
        marks = steps if job.method == "meta" else len(random_start.marks(steps, steps)) if job.steps is None else 1
        found[job] = settings.episodes * (ready + steps * step + (1 + marks) * asking)
        if job.method in FEATURES:
            found[job] = _features(composed, drawn, settings)
        elif job.method == "in_context":
            found[job] = _in_context(composed, drawn, settings, job.shots)
        elif job.method in STEPPED and job.steps != 0:
            fixed = job.steps or next(iter(settings.grounds[job.of].steps), 1)
            file = f"{job.method}-{job.of}-{fixed}.{job.shots}.json"
            if (job.method, fixed) not in searched and folder.read("tuning", file) is None:
                found[job] += search(settings.tuning_episodes, fixed, ready, step, asking)
            searched.add((job.method, fixed))
        found[job] += min(settings.generate, settings.episodes) * (writing + steps * step)
    return found


def search(episodes: int, steps: int, ready: float, step: float, asking: float) -> float:
    """Seconds of a search as `random_start.tune` does it where no rate ends early, its best at BEST steps."""
    at = random_start.marks(steps, max(MARKS))
    ends = sorted(KEPT.items())
    seconds = FEW * ready
    before = 0
    for k in at:
        rates = min([len(RATES), *(kept for end, kept in ends if k > end)])
        seconds += FEW * rates * ((k - before) * step + asking)
        before = k
    for end in (steps, steps, BEST, BEST):
        beyond = [k for k in at if k > end][:2] if end == BEST else []
        last = max([end, *beyond])
        seconds += episodes * (last * step + len([k for k in at if k <= last]) * asking)
    return seconds + episodes * ready


def _pace(parts: Parts, theta: Tree, drawn: Drawn) -> tuple[float, float, float]:
    """Seconds of an episode: to make it ready, of a step, and to measure it."""
    few = drawn.test[:TRIED]
    evaluate.curves(parts, theta, few, 1, at=[0, 1])  # warms up
    (support, query), ready = timed(lambda: parts.problem.prepare(few))
    (_, one), (_, three) = (evaluate.curves(parts, theta, few, steps, at=[steps]) for steps in (1, 4))
    rows = parts.initializer.make(theta["initializer"], support, len(few))
    _, asking = timed(lambda: parts.problem.measure(rows, query))
    return ready / len(few), max(0.0, three - one) / 3, asking / len(few)


def _features(composed: Composition, drawn: Drawn, settings: Settings) -> float:
    few, known = drawn.test[:TRIED], frozen.Features()
    _, seconds = timed(lambda: frozen.features(composed, composed.unchanged(), few, known))
    middle = np.mean(list(known.values()), axis=0)
    _, fitting = timed(
        lambda: [
            frozen.measure(name, {key: values[0] for key, values in frozen.GRIDS[name].items()}, few, known, middle)
            for name in FEATURES
        ]
    )
    texts = {e.text for one in (*drawn.test, *drawn.checks) for e in (*one.support, *one.query)}
    trials = max(_options(name) for name in FEATURES) * settings.tuning_episodes + settings.episodes
    return seconds / len(known) * len(texts) + fitting / len(few) * trials


def _options(name: str) -> int:
    return prod(len(values) for values in frozen.GRIDS[name].values())


def _in_context(composed: Composition, drawn: Drawn, settings: Settings, shots: int) -> float:
    if possible(composed, drawn.test):
        return 0.0
    asked = InContext(composed)
    counts = {trial.examples for trial in asked.trials(shots)}
    asked.both(drawn.test[0], shots)  # warms up
    seconds = {n: timed(partial(asked.both, drawn.test[-1], n))[1] for n in counts}
    return settings.tuning_episodes * sum(seconds.values()) + settings.episodes * max(seconds.values())
