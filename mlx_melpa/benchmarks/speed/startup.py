"""Start-up latency: `melpa --help`, ten examples to a stored version, and adaptation alone."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from ...core.progress import Advance
from ...core.types import Example, Json
from ...store.run import classifies
from ...tasks.synthetic import synthetic
from ..processes import Commands
from .fixtures import recipe
from .settings import Settings, number

HELP, STORED, ADAPTED = 0.3, 3.0, 1.0
"""Seconds at most."""


def measure(settings: Settings, advance: Advance) -> Json:
    """Medians, in seconds: `melpa --help` (5 times), `melpa adapt` with ten examples, and its adaptation alone."""
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        helps = [commands.run("--help")[0] for _ in range(1 if settings.short else 5)]
        advance(1, "start: a run")
        run = settings.run or commands.train(recipe(settings.model, name="labels"), "run")
        file = commands.write("examples.jsonl", ten_examples(classifies(Path(run))))
        adapted = []
        for i in range(settings.repeats):
            adapted.append(commands.tell("adapt", "--user", f"user {i}", file, "--run", run))
            advance(1, f"start: {i + 1} of {settings.repeats}")
    return {
        "help": number(median(helps), "s", at_most=HELP),
        "stored": number(median(seconds for seconds, _ in adapted), "s", at_most=STORED),
        "adaptation": number(median(result["seconds"] for _, result in adapted), "s", at_most=ADAPTED),
    }


def ten_examples(labelled: bool) -> Sequence[Example]:
    """Ten messages of a simulated person: five of each of two labels, or with replies in the person's style."""
    tasks = synthetic(ways=2, shots=5, queries=1) if labelled else synthetic(variant="style", shots=10, queries=1)
    return tuple(tasks.test.episode(np.random.default_rng(0)).support)
