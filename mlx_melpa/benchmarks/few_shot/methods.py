"""The methods of `melpa bench few-shot`, tuned, measured and kept."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...config.build import Composition, compose
from ...core.types import Tree
from ...evaluation import costs as costs
from ...evaluation import curves as evaluate
from ...evaluation import text_overlap as overlap
from ...evaluation.baselines import frozen_features as frozen
from ...evaluation.baselines import random_start
from ...evaluation.baselines.in_context import InContext, possible
from ...evaluation.baselines.multi_task import multi_task
from ...evaluation.methods import Advance, Result
from ...evaluation.timing import timed
from ...store import run
from .folder import Folder
from .settings import FEATURES, STEPPED, Job, Settings


class Methods:
    """Measures jobs; holds what is open of the ground or the run that it is at."""

    def __init__(self, settings: Settings, folder: Folder, advance: Advance):
        self.settings, self.folder, self.advance = settings, folder, advance
        self.open: tuple[str, Any] | None = None

    def measure(self, job: Job) -> Result:
        """What a method comes to on the test episodes: measures of each, curve, costs, what was tuned."""
        work = {"meta": self.meta, "in_context": self.in_context, "base": self.base}
        work |= dict.fromkeys(FEATURES, self.on_features) | {"random_start": self.stepped, "multi_task": self.stepped}
        return {"method": self.settings.title(job), "shots": job.shots, "seed": job.seed, **work[job.method](job)}

    def opened(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` opens, held until another is asked for: one base at a time carries an adapter."""
        if self.open is None or self.open[0] != name:
            self.close()
            self.open = (name, make())
        return self.open[1]

    def close(self) -> None:
        """Lets go of what is open."""
        if self.open is not None:
            getattr(self.open[1], "composed", self.open[1]).model.detach()
        self.open = None

    def ground(self, key: str) -> Composition:
        """The base, adapter and readout of a ground, with nothing that is learned about how to adapt."""
        recipe = multi_task(self.settings.grounds[key].recipe)
        composed: Composition = self.opened(key, lambda: compose(recipe.for_tasks(recipe.make("tasks"))))
        return composed

    def run(self, name: str) -> run.Run:
        """A trained run."""
        loaded: run.Run = self.opened(name, lambda: run.load_run(self.folder.path / "runs" / name))
        return loaded

    def found(self, composed: Composition, theta: Tree, job: Job, steps: int, marks: list[int]) -> Result:
        """Measures, curve and costs of steps from a start."""
        drawn, at = self.settings.drawn[job.shots].test, sorted({0, *marks, steps})
        curves, _ = evaluate.curves(composed.parts, theta, drawn, steps, at=at)
        main = evaluate.main_measure(list(curves))
        measures = {name: rounded(values[-1]) for name, values in curves.items()}
        told = {"main": main, "measures": measures, "steps": steps}
        curve = {"steps": at, main: rounded(curves[main].mean(1))}
        return {**told, "curve": curve, "costs": costs.of_steps(composed, theta, drawn, steps)}

    def written(self, job: Job, found: Result) -> overlap.Measures:
        """BLEU and ROUGE-L of one text for each of the first test episodes, by a method that was measured."""
        drawn = self.settings.drawn[job.shots].test[: self.settings.generate]
        if job.method == "in_context":
            return overlap.in_context(InContext(self.ground(job.of)), drawn, found["settings"]["examples"])
        if job.method == "meta":
            loaded = self.run(f"{job.of}.seed{job.seed}")
            return overlap.adapted(loaded.composed, loaded.theta, drawn, found["steps"])
        composed = self.ground(job.of)
        theta = composed.baseline(random_start.RATES[0]).begin(0)
        if job.method in STEPPED:
            composed, theta, _ = self.started(job, job.seed)
        return overlap.adapted(composed.baseline(found.get("lr", random_start.RATES[0])), theta, drawn, found["steps"])

    def base(self, job: Job) -> Result:
        """The frozen model with the readout at its start."""
        baseline = self.ground(job.of).baseline(random_start.RATES[0])
        return self.found(baseline, baseline.begin(0), job, 0, [])

    def meta(self, job: Job) -> Result:
        """A recipe's run at its own number of steps."""
        name = f"{job.of}.seed{job.seed}"
        loaded = self.run(name)
        steps = loaded.composed.learner.steps
        found = self.found(loaded.composed, loaded.theta, job, steps, list(range(steps)))
        return {**found, "training": self.folder.trained(name)["seconds"], "run": loaded.fingerprint}

    def stepped(self, job: Job) -> Result:
        """Adam from a random start, or from a row that was trained on all training tasks, at a tuned rate.

        A multi-task row is tuned with its first seed, and the others take its rate and steps.
        """
        composed, theta, training = self.started(job, job.seed)
        if job.steps == 0:
            return {**self.found(composed.baseline(1e-3), theta, job, 0, []), **training}
        lr, steps, seconds = self.tuned(job)
        composed, theta, training = self.started(job, job.seed)
        marks = random_start.marks(steps, steps) if job.steps is None else []
        found = self.found(composed.baseline(lr), theta, job, steps, marks)
        return {**found, **training, "lr": lr, "tuning": seconds}

    def started(self, job: Job, seed: int) -> tuple[Composition, Tree, dict[str, float]]:
        """The adapter, where Adam begins, and the seconds of the training that led there, if any did."""
        if job.method == "random_start":
            composed = self.ground(job.of)
            return composed, composed.baseline(1e-3).begin(0), {}
        name = f"multi_task-{job.of}.seed{seed}"
        loaded = self.run(name)
        theta = {**loaded.theta, "rule": {}, "regularizer": {}}
        return loaded.composed, theta, {"training": self.folder.trained(name)["seconds"]}

    def tuned(self, job: Job) -> tuple[float, int, float]:
        """The rate, the steps and the seconds of their search, on the validation episodes."""
        steps = job.steps or next(iter(self.settings.grounds[job.of].steps), 1)
        file = f"{job.method}-{job.of}-{steps}.{job.shots}.json"
        known = self.folder.read("tuning", file)
        if known is None:
            composed, theta, _ = self.started(job, 0)
            checks = self.settings.drawn[job.shots].checks
            main = self.main(composed, theta, checks[:1])

            def search() -> tuple[random_start.Choice, random_start.Choice]:
                told = lambda _=1, text="": self.advance(0, f"tuning {self.settings.title(job)}: {text}")  # noqa: E731
                return random_start.tune(composed, checks, steps, 0, main, advance=told, theta=theta)

            (fixed, best), seconds = timed(search)
            known = {"fixed": fixed, "best": best, "seconds": seconds}
            self.folder.write(known, "tuning", file)
        lr, count = known["best" if job.steps is None else "fixed"]
        return lr, count, known["seconds"]

    def main(self, composed: Composition, theta: Tree, drawn: list[Any]) -> str:
        """The measure that decides."""
        curves, _ = evaluate.curves(composed.baseline(1e-3).parts, theta, drawn, 0)
        return evaluate.main_measure(list(curves))

    def on_features(self, job: Job) -> Result:
        """A classifier on the base's frozen features."""
        composed, drawn = self.ground(job.of), self.settings.drawn[job.shots]
        rows, known = composed.unchanged(), frozen.Features()

        def tuned() -> tuple[Any, np.ndarray]:
            frozen.features(composed, rows, drawn.checks, known)
            middle = np.mean(list(known.values()), axis=0)
            return frozen.tune(job.method, drawn.checks, known, middle), middle

        (settings, middle), seconds = timed(tuned)
        frozen.features(composed, rows, drawn.test, known)
        measures = frozen.measure(job.method, settings, drawn.test, known, middle)
        told = {
            "main": "accuracy",
            "measures": {name: rounded(values) for name, values in measures.items()},
            "steps": 0,
        }
        spent = costs.on_features(job.method, settings, composed, drawn.test)
        return {**told, "settings": settings, "tuning": seconds, "costs": spent}

    def in_context(self, job: Job) -> Result:
        """Examples in context, where base and texts allow it."""
        composed, drawn = self.ground(job.of), self.settings.drawn[job.shots]
        reason = possible(composed, drawn.test)
        if reason:
            return {"left_out": reason}
        asked = InContext(composed)
        main = "accuracy" if asked.classifies else "bits_per_byte"
        trial, seconds = timed(lambda: asked.tune(drawn.checks, job.shots, main))
        measures = {name: rounded(values) for name, values in asked.measure(drawn.test, trial).items()}
        spent = costs.of_context(asked, drawn.test, trial)
        told = {"main": main, "measures": measures, "steps": 0, "settings": trial._asdict()}
        return {**told, "tuning": seconds, "costs": spent}


def rounded(values: np.ndarray) -> list[float]:
    """Numbers of six digits after the point."""
    return [round(float(v), 6) for v in values]
