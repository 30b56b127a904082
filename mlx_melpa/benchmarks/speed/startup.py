"""How soon melpa answers: its help, ten examples to a stored version, and adaptation alone"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ...core.types import Example
from ...store.run import classifies
from ...tasks.synthetic import synthetic
from ..processes import Commands
from .settings import Advance, Settings, number

HELP, STORED, ADAPTED = 0.3, 3.0, 1.0
"""Seconds at most."""
RECIPE: dict[str, Any] = {
    "adapter": {"kind": "lora", "rank": 8, "layers": 2},
    "tasks": {"kind": "synthetic", "ways": 2, "shots": 5, "queries": 2},
    "readout": {"kind": "prototypes", "temperature": 20, "primed": 8, "max_length": 64},
    "rule": {"kind": "adam", "lr": 1e-3},
    "learner": {"kind": "fomaml", "steps": 2},
    "train": {"iterations": 2, "tasks_per_step": 2, "validate_every": 2, "validation_episodes": 2},
}
"""A run whose time counts, not its worth: two iterations will do."""


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Medians, in seconds: `melpa --help` (5 times), `melpa adapt` with ten examples, and its adaptation alone."""
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        helped = [commands.run("--help")[0] for _ in range(1 if settings.short else 5)]
        advance(1, "start: a run")
        run = settings.run or commands.train({"model": settings.model, **RECIPE}, "run")
        notes = commands.write("notes.jsonl", ten(classifies(Path(run))))
        told = []
        for i in range(settings.pairs):
            told.append(commands.tell("adapt", "--user", f"user {i}", notes, "--run", run))
            advance(1, f"start: {i + 1} of {settings.pairs}")
    return {
        "help": number(median(helped), "s", at_most=HELP),
        "stored": number(median(seconds for seconds, _ in told), "s", at_most=STORED),
        "adaptation": number(median(said["seconds"] for _, said in told), "s", at_most=ADAPTED),
    }


def ten(labelled: bool) -> Sequence[Example]:
    """Ten messages of a simulated person: five of each of two kinds, or with replies in the person's style."""
    tasks = synthetic(ways=2, shots=5, queries=1) if labelled else synthetic(variant="style", shots=10, queries=1)
    return tuple(tasks.test.episode(np.random.default_rng(0)).support)
