"""The recipe or run that a continual benchmark is given: whose tasks, whose adapter, and where methods begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config.build import on_backend
from ...config.recipe import Recipe, load_recipe
from ...errors import MelpaError
from ...store.run import Run, load_run

DEFAULT_STEPS = 20
"""Gradient steps of a task where no run has its own number."""
PER_TASK = ("hypernetwork", "proto_head")
"""Initializers that make a new row from each task's support set."""


@dataclass(frozen=True)
class Source:
    """`tasks`: the recipe whose tasks become the stream. `run`: methods begin from it too, if there is one."""

    tasks: Recipe
    run: Run | None

    @property
    def recipe(self) -> Recipe:
        """The recipe of adapter and readout: the run's if there is one."""
        return self.run.setup.recipe if self.run else self.tasks

    @property
    def seen(self) -> Sequence[str]:
        """Hashes of what the run's training saw."""
        return self.run.info["seen"] if self.run else ()

    @property
    def steps(self) -> int:
        """Gradient steps of a task: the run's own, else the default."""
        return self.run.steps if self.run else DEFAULT_STEPS


def load_source(recipe: str, run: Path | None, sets: Sequence[str], backend: str | None) -> Source:
    """Loads a recipe, or a run's folder given in its place, and the run.

    Raises MelpaError where `sets` change more than the tasks of a run, or where the run makes a row anew for each task.
    """
    if (Path(recipe) / "run.json").is_file():
        run, recipe = run or Path(recipe), str(Path(recipe) / "recipe.yaml")
    source = Source(on_backend(load_recipe(recipe, sets), backend), load_run(run, backend=backend) if run else None)
    if source.run is None:
        return source
    own = [change for change in sets if not change.startswith("tasks.")]
    if own:
        raise MelpaError(f"--set {own[0]}: with --run all but tasks is the run's own; leave it out, or leave out --run")
    kind = source.recipe.kind("initializer")
    if kind in PER_TASK:
        raise MelpaError(f"initializer {kind} begins each task anew, and a stream goes on from one row; take another")
    return source
