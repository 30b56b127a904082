"""The files of a training in its run's folder: checkpoint, theta, the best theta, metrics."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from ..config.recipe import Recipe, load_recipe
from ..config.yaml_document import Value
from ..core.atomic import replace_text
from ..core.engine import Engine
from ..core.types import Tree
from ..errors import RecipeError
from ..store.run import save, write


@dataclass
class Progress:
    """The part of a checkpoint besides theta and the optimizer's state.

    iteration: the number of finished iterations. best, validation: the main measure, the best and the last.
    seconds: of training so far. tasks_per_pass: a sum in another order would end elsewhere.
    """

    iteration: int = 0
    best: float | None = None
    seconds: float = 0.0
    validation: float | None = None
    tasks_per_pass: int | None = None


class Checkpoints:
    """Reads and writes a training's folder. With several ranks, rank 0 alone does."""

    def __init__(self, folder: Path, ops: Engine):
        self.folder, self.ops = folder, ops

    @property
    def path(self) -> Path:
        """The checkpoint's file; it appears whole or not at all."""
        return self.folder / "checkpoint.safetensors"

    def begin(self, recipe: Recipe, info: Mapping[str, Value]) -> None:
        """Makes the run's folder, with its recipe and run.json."""
        write(self.folder, recipe, {"name": self.folder.name, **info})

    def holds_run(self, recipe: Recipe, resume: bool) -> bool:
        """True if the folder holds a run to resume; raises RecipeError where it must not be used for `recipe`."""
        if not (self.folder / "run.json").is_file():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise RecipeError(f"{self.folder} is not empty and holds no run; give another --out")
            return False
        if not resume:
            raise RecipeError(f"{self.folder} already holds a run; go on with --resume, or give another --out")
        stored, now = load_recipe(self.folder / "recipe.yaml").resolved, recipe.resolved
        changed = [key for key in now if now[key] != stored.get(key)]
        if changed:
            raise RecipeError(
                f"the run in {self.folder} was begun with another {', '.join(changed)}; resume with the recipe in "
                f"{self.folder / 'recipe.yaml'}, or give another --out"
            )
        return True

    def restore(self, like: Tree) -> tuple[Tree, Progress] | None:
        """The state and the progress of the last checkpoint; None if there is none. Raises RecipeError."""
        if not self.path.is_file():
            return None
        try:
            state = self.ops.load(self.path, like)
        except KeyError as error:
            raise RecipeError(
                f"{self.path} has no {error}: version 0.1 wrote it, and this version can use its run but not resume "
                "it; give another --out"
            ) from error
        return state, Progress(**json.loads(self.ops.metadata(self.path)["progress"]))

    def save(self, state: Tree, progress: Progress) -> None:
        """Writes a checkpoint as one file, then theta for those who use the run."""
        save(self.folder, "checkpoint", self.ops, state, {"progress": json.dumps(asdict(progress))})
        save(self.folder, "theta", self.ops, state["theta"])

    def save_best(self, theta: Tree) -> None:
        """Writes the theta that is the best on the validation episodes."""
        save(self.folder / "best", "theta", self.ops, theta)

    def open_metrics(self, iteration: int) -> TextIO:
        """Opens metrics.jsonl to append to, cut to what had happened by an iteration."""
        path = self.folder / "metrics.jsonl"
        if path.is_file():
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["iteration"] <= iteration]
            replace_text(path, "".join(f"{line}\n" for line in kept))
        return path.open("a", encoding="utf-8")
