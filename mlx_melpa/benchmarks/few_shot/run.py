"""Recipes and the baselines that they have to beat, on the same unseen tasks: `melpa bench few-shot`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ...config.build import Setup, compose
from ...config.recipe import Recipe, load_recipe
from ...core.progress import Advance, silent
from ...core.types import Json, Tree
from ...errors import MelpaError
from ...evaluation.baselines.multi_task import multi_task
from ...evaluation.curves import Measured
from ...evaluation.evaluation import Evaluation
from ...evaluation.methods import METHODS, Plan, measure
from ...evaluation.methods import Settings as Tuned
from ...evaluation.timing import timed
from ...store.run import load_run
from ...training.meta_train import meta_train
from ..study import Study
from . import report
from .episodes import Episodes, draw_all
from .jobs import Jobs, Measurement


def few_shot(jobs: Jobs, advance: Advance = silent) -> Json:
    """Trains and measures what is not there yet and writes the table; results are kept in `out` one by one.

    `advance` counts runs and measurements. Raises MelpaError if `out` holds results of other episodes or recipes.
    """
    settings = jobs.settings
    if settings.out is None:
        raise MelpaError("where shall runs and results go? Give --out DIR")
    settings.check_packages()
    episodes = draw_all(settings)
    identity = {"episodes": settings.episodes, "tuning_episodes": settings.tuning_episodes}
    recipes = {name: recipe.resolved for name, recipe in jobs.runs.items() if not name.startswith("multi_task-")}
    drawn = {str(shots): each.fingerprint for shots, each in episodes.items()}
    study = Study(settings.out, identity, {"episodes_by_shots": drawn, "runs": recipes}, advance)
    bench = Bench(jobs, episodes, study, settings.out)
    try:
        results = bench.results()
    finally:
        bench.close()
    summary = report.summed(jobs, episodes, results)
    study.report("few_shot", summary, report.markdown(summary), partial(report.draw, summary))
    return summary


class Bench:
    """Trains runs and measures methods with one open evaluation: a base carries one adapter at a time."""

    def __init__(self, jobs: Jobs, episodes: Mapping[int, Episodes], study: Study, out: Path):
        self.jobs, self.episodes, self.study, self.out = jobs, episodes, study, out
        self._open: dict[str, tuple[Setup, Tree]] = {}
        self._evaluations: dict[tuple[str, int], Evaluation] = {}

    def results(self) -> dict[Measurement, Json]:
        """The results of all measurements, made if they are not there yet."""
        for name, recipe in self.jobs.runs.items():
            self.study.get_or(f"training/{name}", partial(self._train, name, recipe), name)
        missing = [each for each in self.jobs.measurements if self.study.get(each.key) is None]
        self.study.advance(len(self.jobs.measurements) - len(missing), "done before")
        for subject in dict.fromkeys(each.subject for each in missing):
            for shots in self.jobs.settings.shots:
                self._measure([each for each in missing if (each.subject, each.shots) == (subject, shots)])
        if self.jobs.settings.generate:
            for each in self.jobs.measurements:
                self._write(each)
        return {each: self.study.get(each.key) for each in self.jobs.measurements}

    def close(self) -> None:
        """Takes the adapter off the open base."""
        for setup, _ in self._open.values():
            setup.model.detach()
        self._open.clear()
        self._evaluations.clear()

    def _train(self, name: str, recipe: Recipe) -> dict[str, float]:
        """Trains a run to its end, from where it stopped, and gives the seconds."""
        folder = self.out / "runs" / name
        stored = folder / "recipe.yaml"
        if name.startswith("multi_task-") and stored.is_file():  # any recipe of the setting may have been the first
            recipe = load_recipe(stored)
        event: Json = {}
        for event in meta_train(recipe, folder, resume=True):
            if event["event"] == "step":
                self.study.advance(0, f"{name}: iteration {event['iteration']} of {recipe.train.iterations}")
        return {"seconds": event["seconds"]}

    def _measure(self, together: Sequence[Measurement]) -> None:
        """Measures jobs with the same run or setting and number of shots: their episodes are encoded once."""
        plans: dict[Measurement, Plan] = {}
        for each in together:
            title = self.jobs.title(each)
            self.study.advance(0, f"{title}, {each.shots} shots, seed {each.seed}")
            method = METHODS[each.method]
            reason = method.lacks(self._evaluation(each))
            if reason:
                self.study.put(each.key, {"method": title, "left_out": reason})
                self.study.advance(1, title)
            else:
                every_step = each.method == "meta" or each.steps is None
                plans[each] = Plan(method, self._tuned(each)[0], every_step)
        if plans:
            evaluation = self._evaluation(together[0])  # tuning may have opened another
            for each, measured in measure(evaluation, plans).items():
                self.study.put(each.key, self._result(each, plans[each], measured))
                self.study.advance(1, self.jobs.title(each))

    def _result(self, each: Measurement, plan: Plan, measured: Measured) -> Json:
        """The measures of each episode, the curve, the costs, and what was tuned and trained."""
        evaluation = self._evaluation(each)
        main, settings = evaluation.main, plan.settings
        result = {
            "method": self.jobs.title(each),
            "shots": each.shots,
            "seed": each.seed,
            "main": main,
            "measures": {name: [round(float(v), 6) for v in values] for name, values in measured.last.items()},
            "steps": settings.get("steps", 0),
            "settings": settings,
            "curve": {"steps": list(measured.steps), main: [round(v, 6) for v in measured.means(main)]},
            "costs": plan.method.cost(evaluation, settings),
            "tuning": self._tuned(each)[1],
        }
        return {**result, "training": self.study.get(f"training/{each.run}")["seconds"]} if each.run else result

    def _tuned(self, each: Measurement) -> tuple[Tuned, float | None]:
        """The settings of a method, and the seconds of tuning them; those of its first seed for all seeds."""
        method = METHODS[each.method]
        if not method.tunes:
            return method.tune(self._evaluation(each))[each.variant], None
        if each.steps == 0 and method.tunes_steps:
            return {"steps": 0}, None
        steps = f"-{self._steps(each)}" if method.tunes_steps else ""
        key = f"tuning/{each.method}-{each.of}{steps}.{each.shots}"

        def tune() -> Json:
            tuned, seconds = timed(partial(method.tune, self._evaluation(each._replace(seed=0))))
            return {"settings": tuned, "seconds": seconds}

        found = self.study.get_or(key, tune, weight=0)
        return found["settings"][each.variant], found["seconds"]

    def _write(self, each: Measurement) -> None:
        """Writes texts, if a result has fewer than are asked for, and keeps their overlaps with it."""
        found, wanted = self.study.get(each.key), min(self.jobs.settings.generate, self.jobs.settings.episodes)
        if "left_out" in found or len(found.get("written", {}).get("bleu", ())) >= wanted:
            return
        self.study.advance(0, f"{self.jobs.title(each)} writes, {each.shots} shots, seed {each.seed}")
        evaluation = self._evaluation(each)
        written = METHODS[each.method].write(evaluation, found["settings"], evaluation.test[:wanted])
        self.study.put(each.key, {**found, "written": written})

    def _evaluation(self, each: Measurement) -> Evaluation:
        """The evaluation of a measurement; those of another run or setting are closed."""
        if each.subject not in self._open:
            self.close()
            self._open[each.subject] = self._load(each)
        key = (each.subject, each.shots)
        if key not in self._evaluations:
            drawn = self.episodes[each.shots]
            self._evaluations[key] = Evaluation(
                *self._open[each.subject], drawn.test, drawn.validation, advance=self._tell
            )
        self._evaluations[key].steps = self._steps(each)
        return self._evaluations[key]

    def _load(self, each: Measurement) -> tuple[Setup, Tree]:
        """A trained run; or the base, adapter and readout of a setting, with nothing that was trained."""
        if each.run:
            run = load_run(self.out / "runs" / each.run)
            return run.setup, run.theta
        recipe = multi_task(self.jobs.settings_by_key[each.of].recipe)
        return compose(recipe.for_tasks(recipe.make("tasks"))), {}

    def _tell(self, amount: float = 1, text: str = "", /) -> None:
        """Shows the text alone: measurements are counted, and not their episodes."""
        self.study.advance(0, text)

    def _steps(self, each: Measurement) -> int:
        """The inner steps of a recipe, or those that a baseline is tuned for."""
        if each.method == "meta":
            return self.jobs.runs[each.run].steps
        return each.steps or next(iter(self.jobs.settings_by_key[each.of].steps), 1)
