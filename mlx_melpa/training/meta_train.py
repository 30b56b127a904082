"""Meta-training a recipe into a run's folder: the outer loop, with checkpoints and events."""

import json
from collections.abc import Iterator
from os import devnull
from pathlib import Path
from time import perf_counter, time
from typing import TextIO

from .. import __version__
from ..backends.base import BaseModel
from ..config.build import check_descriptions, compose
from ..config.recipe import Recipe
from ..config.yaml_document import Value
from ..core.types import Splits
from ..errors import MelpaError
from ..evaluation.curves import better, main_measure
from .checkpoints import Checkpoints, Progress
from .outer_loop import Diverged, OuterLoop

Event = dict[str, Value]
"""An event of meta-training: "event" (start, step, validation, end), "iteration", and numbers by name."""


def meta_train(
    recipe: Recipe, out: str | Path, *, resume: bool = False, base: BaseModel | None = None
) -> Iterator[Event]:
    """Meta-trains a recipe into the folder `out` and yields events: start, step, validation, end.

    Raises RecipeError where `out` holds a run and `resume` is off, and where a resumed recipe differs; MelpaError where
    the loss is no longer a finite number (the last checkpoint stays).
    """
    splits: Splits = recipe.make("tasks")
    recipe = recipe.for_tasks(splits)
    check_descriptions(recipe, splits)
    loop = OuterLoop(recipe, compose(recipe, base), splits)
    loop.choose_tasks_per_pass()
    checkpoints = Checkpoints(Path(out), loop.ops)
    progress = Progress()
    if loop.rank == 0:
        progress = _begin(recipe, loop, checkpoints, resume)
    state = {"loop": loop.state, "iteration": loop.ops.array([float(progress.iteration)])}
    state = loop.ops.total(state if loop.rank == 0 else loop.ops.zeros_like(state))  # all ranks take rank 0's
    loop.state, progress.iteration = state["loop"], int(loop.ops.numpy(state["iteration"])[0])
    return _events(loop, checkpoints, progress)


def _begin(recipe: Recipe, loop: OuterLoop, checkpoints: Checkpoints, resume: bool) -> Progress:
    """Makes the folder, or restores the loop from what lies there."""
    resumed = checkpoints.holds_run(recipe, resume)
    if resumed and (found := checkpoints.restore(loop.state)):
        loop.state, progress = found
        loop.passes.size = progress.tasks_per_pass or loop.passes.size
        return progress
    loop.init_metric()
    if not resumed:
        base, layout, splits = loop.setup.base, loop.setup.layout, loop.single
        checkpoints.begin(
            recipe,
            {
                "made": time(),
                "melpa": __version__,
                "engine": loop.ops.identity(),
                "base": {"name": base.name, "family": base.family, "weights": base.weights} if base else None,
                "readout": recipe.kind("readout") or None,
                "parameters": layout.size,
                "layout": loop.setup.problem.acting_layout.fingerprint,
                "seen": sorted(splits.training_hashes),
                "notes": list(splits.notes),
            },
        )
    return Progress()


def _events(loop: OuterLoop, checkpoints: Checkpoints, progress: Progress) -> Iterator[Event]:
    """Runs the loop; every event but the first and the last goes to metrics.jsonl too, which rank 0 writes."""
    s, first, before, began = loop.settings, progress.iteration, progress.seconds, perf_counter()
    yield {"event": "start", "iteration": first, "iterations": s.iterations, "notes": loop.single.notes}
    with checkpoints.open_metrics(first) if loop.rank == 0 else Path(devnull).open("a", encoding="utf-8") as metrics:
        while progress.iteration < s.iterations:
            event = _step(loop, checkpoints, progress)
            spent = perf_counter() - began
            progress.seconds = before + spent
            left = spent / (progress.iteration - first) * (s.iterations - progress.iteration)
            event |= {"seconds": progress.seconds, "left": left}
            event |= {"validation": progress.validation, "memory": loop.ops.peak_memory()}
            yield _written(event, metrics)
            last = progress.iteration == s.iterations
            if last or progress.iteration % s.validate_every == 0:
                yield _written(_validate(loop, checkpoints, progress), metrics)
            if last or progress.iteration % s.checkpoint_every == 0:
                _save(loop, checkpoints, progress)
    if first == s.iterations:
        _save(loop, checkpoints, progress)
    yield {"event": "end", "iteration": progress.iteration, "seconds": progress.seconds, "best": progress.best}


def _step(loop: OuterLoop, checkpoints: Checkpoints, progress: Progress) -> Event:
    try:
        found = loop.step(progress.iteration)
    except Diverged as error:
        there = checkpoints.path.is_file()
        kept = f"the last checkpoint in {checkpoints.folder} is kept" if there else "there was no checkpoint yet"
        raise MelpaError(f"{error}, and start again with another --out; {kept}") from error
    progress.iteration += 1
    return {"event": "step", "iteration": progress.iteration, **found}


def _validate(loop: OuterLoop, checkpoints: Checkpoints, progress: Progress) -> Event:
    """Measures theta on the validation episodes and keeps the best."""
    measures = loop.validate()
    main = main_measure(list(measures))
    progress.validation = measures[main]
    if progress.best is None or better(measures[main], progress.best, main):
        progress.best = measures[main]
        if loop.rank == 0:
            checkpoints.save_best(loop.theta)
    return {"event": "validation", "iteration": progress.iteration, "measure": main, **measures}


def _save(loop: OuterLoop, checkpoints: Checkpoints, progress: Progress) -> None:
    if loop.rank == 0:
        progress.tasks_per_pass = loop.passes.size
        checkpoints.save(loop.state, progress)


def _written(event: Event, metrics: TextIO) -> Event:
    metrics.write(json.dumps(event) + "\n")
    metrics.flush()
    return event
