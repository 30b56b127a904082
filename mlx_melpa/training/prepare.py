"""Unattended meta-training for any base model, from simulated people and example files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..backends.base import BaseModel
from ..backends.checkpoints import located
from ..config.build import part_of
from ..config.recipe import Recipe, load_recipe
from ..data.readers import read_examples
from ..errors import DataError, RecipeError
from .estimate import Estimate, estimate
from .meta_train import Event, meta_train

ITERATIONS = 200
MIN_ITERATIONS = 10
SHOTS = (5, 3, 2, 1)
"""Tried in this order, until the files have tasks with so many examples."""
METRIC_EPISODES = 100
WRITING: Mapping[str, object] = {"readout": "completion", "rule.lr": 3e-3, "learner.steps": 4}
"""For texts: more and larger steps than for labels, where ridge regression does much alone."""


@dataclass(frozen=True)
class Plan:
    """The recipe that `prepare` will train, its loaded base model, and the estimated seconds."""

    recipe: Recipe
    base: BaseModel
    seconds: float

    @property
    def iterations(self) -> int:
        """The number of iterations."""
        return self.recipe.train.iterations


def plan(
    model: str,
    files: Sequence[str | Path] = (),
    *,
    minutes: float | None = None,
    iterations: int = ITERATIONS,
    backend: str = "mlx",
) -> Plan:
    """Chooses a recipe for a base model and times a few of its iterations; `minutes` sets their number.

    The packaged recipe `prepared`, with LoRA on the upper half of the blocks, so that the frozen lower half runs once.
    Raises ModelError, DataError, and RecipeError where `minutes` allow fewer than 10 iterations.
    """
    base = part_of(backend, "model").load(located(model))
    changes = {"backend": backend, "model": base.name, "adapter.layers": max(1, len(base.blocks) // 2)}
    changes |= _tasks([str(Path(file).expanduser().resolve()) for file in files])
    found = estimate(_recipe(changes, iterations), base)
    if minutes is not None:
        iterations = _fitting(changes, found, 60 * minutes)
    recipe = _recipe(changes, iterations)
    return Plan(recipe, base, _seconds(recipe, found))


def _recipe(changes: Mapping[str, object], iterations: int) -> Recipe:
    """The packaged recipe with changes, and with what follows from the number of iterations."""
    changes = {**changes, "train.iterations": iterations, "train.validate_every": max(5, iterations // 5)}
    if "readout" not in changes:
        changes["readout.metric_episodes"] = min(METRIC_EPISODES, 4 * iterations)
    return load_recipe("prepared", changes)


def _seconds(recipe: Recipe, found: Estimate) -> float:
    return found.total(recipe.train, recipe.settings("readout").get("metric_episodes", 0))


def _fitting(changes: Mapping[str, object], found: Estimate, seconds: float) -> int:
    """The largest number of iterations that end within some seconds; raises RecipeError for fewer than 10."""
    iterations = int(seconds / found.iteration)
    while iterations and (expected := _seconds(_recipe(changes, iterations), found)) > seconds:
        iterations = min(iterations - 1, int(iterations * seconds / expected))
    if iterations < MIN_ITERATIONS:
        least = _seconds(_recipe(changes, MIN_ITERATIONS), found)
        raise RecipeError(
            f"--minutes {seconds / 60:g} allows {iterations} iterations here; give {least / 60:.1f} or more, or a "
            "smaller model"
        )
    return iterations


def prepare(planned: Plan, out: str | Path) -> Iterator[Event]:
    """Carries a plan out into the folder `out`; yields the events of `meta_train`."""
    return meta_train(planned.recipe, out, base=planned.base)


def free_folder(home: Path, model: str) -> Path:
    """A folder for a new run under `home`, named after the base model, that does not exist yet."""
    name = re.sub(r"[^\w.-]+", "-", located(model).rstrip("/").rsplit("/", 1)[-1]) or "run"
    number = 1
    while (folder := home / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _tasks(files: list[str]) -> dict[str, object]:
    """The changes to the recipe for example files: tasks, and the readout that suits them."""
    if not files:
        return {}
    records = read_examples(files)
    labelled, grouped = records[0].example.label is not None, records[0].group is not None
    several = len(files) > 1 or Path(files[0]).is_dir()
    tasks: dict[str, object] = {"kind": "mixed", "files": files, "group": "file" if several and not grouped else None}
    for shots in SHOTS:
        tasks |= {"shots": shots, "queries": shots}
        try:
            load_recipe("prepared", {"tasks": tasks}).make("tasks")
            break
        except DataError:
            if shots == SHOTS[-1]:
                raise
    return {"tasks": tasks, **({} if labelled else WRITING)}
