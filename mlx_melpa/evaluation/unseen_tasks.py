"""The tasks of an evaluation: those that training has not seen, and those to tune baselines on."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from ..config.recipe import Recipe
from ..core.types import Splits, Tasks
from ..data.readers import read_examples
from ..errors import DataError
from ..store.run import Run
from ..tasks.episodes import EpisodeSettings, gather
from ..tasks.splits import unseen

Files = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Sizes:
    """Labels, support and query examples of an episode; None for those of the recipe."""

    ways: int | None = None
    shots: int | None = None
    queries: int | None = None

    def given(self) -> dict[str, int]:
        """Those that are not None, by name."""
        return {name: size for name, size in asdict(self).items() if size is not None}


@dataclass(frozen=True)
class TaskFiles:
    """Files of tasks and the fields that make tasks of them, the recipe's by default; group "" for no group."""

    files: Files
    group: str | None = None
    label: str | None = None


class TaskSets(NamedTuple):
    """The test tasks, the recipe's splits at the same sizes, and notes on what was left out."""

    test: Tasks
    splits: Splits
    notes: tuple[str, ...]


def tasks_of(run: Run, files: TaskFiles | None = None, sizes: Sizes | None = None) -> TaskSets:
    """The tasks to evaluate a run on: those of `files`, or else its own test tasks.

    Raises DataError if files hold no task that training has not seen.
    """
    return tasks_for(run.setup.recipe, run.info["seen"], files, sizes)


def tasks_for(
    recipe: Recipe, seen: Collection[str], files: TaskFiles | None = None, sizes: Sizes | None = None
) -> TaskSets:
    """The tasks to evaluate a recipe on, whose training has seen the tasks with the hashes `seen`."""
    given = (sizes or Sizes()).given()
    settings = recipe.settings("tasks")
    settings |= {name: size for name, size in given.items() if name in settings}
    splits: Splits = recipe.replace(tasks={"kind": recipe.kind("tasks"), **settings}).make("tasks")
    if files is None:
        return TaskSets(splits.test, splits, splits.notes)
    group = (settings.get("group") if files.group is None else files.group) or None
    label = files.label or settings.get("label")
    records = read_examples(files.files, group=group, label=label, about=settings.get("about"))
    kept, notes = unseen(records, seen)
    if not kept:
        raise DataError(
            f"training saw every task of {files.files}: nothing is left to judge on; give --tasks a file with new ones"
        )
    of_tasks = {name: given.get(name) or settings.get(name, 5) for name in ("ways", "shots", "queries")}
    tasks = gather(kept, EpisodeSettings(**of_tasks))
    return TaskSets(tasks, splits, (*notes, *tasks.left_out))
