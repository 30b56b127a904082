"""The `melpa` command in processes of its own, timed, with a store of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from ..config.kinds import kind_class
from ..config.recipe import Recipe
from ..core.types import Example
from ..errors import MelpaError
from ..store.run import classifies


class Commands:
    """Runs `melpa` in processes of their own, its store in `folder`."""

    def __init__(self, folder: Path):
        self.folder, self.home = folder, folder / "home"
        self.environment = {**os.environ, "MELPA_HOME": str(self.home)}

    def run(self, *words: str) -> tuple[float, str]:
        """The seconds that a command takes from its start to its end, and what it prints; raises MelpaError."""
        began = perf_counter()
        done = self.start(words, subprocess.PIPE, subprocess.PIPE)
        seconds = perf_counter() - began
        if done.returncode:
            raise MelpaError(
                f"bench: melpa {' '.join(words)} ended with code {done.returncode}:\n{done.stderr.strip()}"
            )
        return seconds, done.stdout

    def start(
        self, words: Sequence[str], stdout: int | None, stderr: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, its output to the screen (None) or to what subprocess calls PIPE or DEVNULL."""
        command = [sys.executable, "-m", "melpa_cli", *words]
        return subprocess.run(command, env=self.environment, stdout=stdout, stderr=stderr, text=True)

    def tell(self, *words: str) -> tuple[float, Any]:
        """The seconds of a command with --json, and its JSON."""
        seconds, output = self.run(*words, "--json")
        return seconds, json.loads(output)

    def train(self, recipe: Recipe, name: str) -> str:
        """Meta-trains a recipe and returns the path of its run, NAME in the folder."""
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(recipe.resolved), encoding="utf-8")  # JSON is YAML
        self.run("meta-train", str(path), "--out", str(self.folder / name))
        return str(self.folder / name)

    def run_for(self, run: str | None, recipe: Recipe, name: str) -> str:
        """The given run, if it classifies or writes as the recipe does; else one trained with the recipe."""
        labelled = kind_class("readout", recipe.kind("readout")).classifies
        return run if run and classifies(Path(run)) == labelled else self.train(recipe, name)

    def write(self, name: str, examples: Sequence[Example]) -> str:
        """Writes examples as JSON lines, as users have them, and returns the file's path."""
        rows = [
            {"text": e.text, "label": e.label} if e.target is None else {"prompt": e.text, "completion": e.target}
            for e in examples
        ]
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)
