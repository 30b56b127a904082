"""The folder of a few-shot benchmark: settings.json, runs/, training/, tuning/ and results/, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...config.recipe import Recipe
from ...core import atomic as disk
from ...errors import MelpaError
from ...store import run
from .settings import Job, Settings


class Folder:
    """Reads and writes results; with no path there are none, and nothing is written.

    Raises MelpaError where the folder holds results of other episodes, or runs of other recipes.
    """

    def __init__(self, settings: Settings):
        self.settings, self.path = settings, settings.out or Path()
        self.runs = dict(settings.runs())
        if settings.out is not None:
            self._same_episodes()
            for name in self.runs:
                self._same_recipe(name)

    def begin(self) -> None:
        """Writes what results of the folder have in common."""
        here, known = self.settings.identity(), self.read("settings.json") or {"drawn": {}}
        self.write({**here, "drawn": {**known["drawn"], **here["drawn"]}}, "settings.json")

    def read(self, *path: str) -> Any:
        """What a JSON file of the folder holds; None where it is not there."""
        file = self.path.joinpath(*path)
        there = self.settings.out is not None and file.is_file()
        return json.loads(file.read_text(encoding="utf-8")) if there else None

    def write(self, what: Any, *path: str) -> None:
        """Writes a JSON file of the folder."""
        if self.settings.out is not None:
            disk.replace_text(self.path.joinpath(*path), json.dumps(what) + "\n")

    def recipe(self, name: str) -> Recipe:
        """The recipe of a run, with its seed."""
        return seeded(*self.runs[name])

    def trained(self, name: str) -> Any:
        """The seconds of a run that has come to its end; None for one that has not."""
        return self.read("training", f"{name}.json")

    def done(self) -> dict[Job, dict[str, Any]]:
        """What is measured already."""
        return {job: found for job in self.settings.jobs if (found := self.read("results", job.file))}

    def _same_episodes(self) -> None:
        known, here = self.read("settings.json"), self.settings.identity()
        if known is None:
            return
        for key in ("episodes", "tuning_episodes"):
            if known[key] != here[key]:
                raise MelpaError(
                    f"{self.path} holds results of {key} {known[key]}, not {here[key]}; give another --out"
                )
        for shots, mark in here["drawn"].items():
            if known["drawn"].get(shots, mark) != mark:
                raise MelpaError(
                    f"{self.path} holds results of other episodes at {shots} shots (other tasks, ways or queries); "
                    "give another --out"
                )

    def _same_recipe(self, name: str) -> None:
        stored = self.path / "runs" / name / "recipe.yaml"
        if not stored.is_file():
            return
        recipe, seed = self.runs[name]
        there, now = run.load_recipe(stored).resolved, seeded(recipe, seed).resolved
        if name.startswith("multi_task-"):  # any recipe of the ground may have been the first
            self.runs[name] = (replace(recipe, resolved=there), seed)
            return
        changed = [key for key in now if now[key] != there.get(key)]
        if changed:
            raise MelpaError(
                f"{stored.parent} was trained with another {', '.join(changed)} than recipe {recipe.name} has now; "
                "give the recipe another name, or give another --out"
            )


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The same recipe with another seed of its training; its tasks stay."""
    return recipe.replace(train={**recipe.resolved["train"], "seed": seed})
