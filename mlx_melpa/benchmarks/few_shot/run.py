"""Recipes and what they have to beat, on the same unseen tasks: `melpa bench few-shot`"""

import json
from importlib.util import find_spec
from typing import Any

from ...core import atomic as disk
from ...errors import MelpaError
from ...evaluation.methods import Advance
from ...training.meta_train import meta_train
from . import report as report
from .folder import Folder
from .methods import Methods
from .settings import Job, Settings


def few_shot(settings: Settings, advance: Advance = lambda *_: None) -> dict[str, Any]:
    """Trains and measures what is not done yet, and sums up all; everything goes to `out` as it comes.

    Raises MelpaError where `out` holds results of other episodes, or runs of other recipes.
    """
    if settings.out is None:
        raise MelpaError("where shall runs and results go? Give --out DIR")
    folder = Folder(settings)
    check_packages(settings.jobs)
    folder.begin()
    for name in folder.runs:
        train(folder, name, advance)
    done, methods = folder.done(), Methods(settings, folder, advance)
    advance(len(done), "done before")
    try:
        for job in [job for job in settings.jobs if job not in done]:
            advance(0, f"{settings.title(job)}, {job.shots} shots, seed {job.seed}")
            done[job] = methods.measure(job)
            folder.write(done[job], "results", job.file)
            advance(1)
        texts = min(settings.generate, settings.episodes)
        for job in settings.jobs if texts else ():
            if "left_out" not in done[job] and len(done[job].get("written", {}).get("bleu", ())) < texts:
                advance(0, f"{settings.title(job)} writes, {job.shots} shots, seed {job.seed}")
                done[job]["written"] = methods.written(job, done[job])
                folder.write(done[job], "results", job.file)
    finally:
        methods.close()
    found = report.summed(settings, done)
    disk.replace_text(settings.out / "few_shot.json", json.dumps(found, indent=1) + "\n")
    disk.replace_text(settings.out / "table.md", report.markdown(found))
    if find_spec("matplotlib"):
        report.draw(found, settings.out)
    return found


def check_packages(jobs: list[Job]) -> None:
    """Refuses to begin what would end for want of a package hours later."""
    if any(job.method == "logistic_regression" for job in jobs) and not find_spec("sklearn"):
        raise MelpaError("the baselines need scikit-learn; install it with: pip install 'mlx-melpa[baselines]'")


def train(folder: Folder, name: str, advance: Advance) -> None:
    """Trains a run to its end, from where it stopped."""
    if not folder.trained(name):
        recipe, event = folder.recipe(name), {}
        count = recipe.train.iterations
        for event in meta_train(recipe, folder.path / "runs" / name, resume=True):
            if event["event"] == "step":
                advance(0, f"{name}: iteration {event['iteration']} of {count}")
        folder.write({"seconds": event["seconds"]}, "training", f"{name}.json")
    advance(1, name)
