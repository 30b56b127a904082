"""Unattended meta-training for any base, from simulated people and whatever files are at hand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from .compose import compose, part_of
from .errors import DataError, RecipeError
from .files import read_examples
from .find import located, recipe_of
from .recipe import Recipe
from .tasks.at_hand import at_hand
from .train import Event, Trainer, meta_train

ITERATIONS = 200
FEWEST = 10
SHOTS = (5, 3, 2, 1)
OVERHEAD = 1.1
"""Validation and checkpoints beside the iterations."""
PRIMED, WORTH = 100, 0.03
"""Episodes that the readout's metric begins from, and what one costs, in iterations: a forward pass of 12 or more."""


@dataclass(frozen=True)
class Plan:
    """What `prepare` is about to do: the recipe, on a base that is loaded, and how long it takes by measurement."""

    recipe: Recipe
    base: Any
    iterations: int
    seconds: float


def plan(
    model: str,
    files: Sequence[str | Path] = (),
    *,
    minutes: float | None = None,
    iterations: int = ITERATIONS,
    backend: str = "mlx",
) -> Plan:
    """Chooses a recipe for a base and times two of its iterations; `minutes` sets how many there will be.

    LoRA of rank 8 on all linear layers of the upper half of the blocks, so that the lower half runs once; first-order
    MAML; class prototypes for labels, likelihood for text. Raises ModelError, DataError, and RecipeError where
    `minutes` allow fewer than 10 iterations.
    """
    base = part_of(backend, "model").load(located(model))
    tasks, labelled = _tasks([str(Path(file).expanduser().resolve()) for file in files])
    tree: dict[str, Any] = {
        "backend": backend,
        "model": base.name,
        "adapter": {"kind": "lora", "rank": 8, "scale": 2.0, "layers": max(1, len(base.blocks) // 2)},
        "tasks": tasks,
        "readout": {"kind": "prototypes", "primed": 0, "temperature": 20.0} if labelled else {"kind": "completion"},
        "rule": {"kind": "adam", "lr": 1e-3},
        "learner": {"kind": "fomaml", "steps": 2},
        "train": {"iterations": iterations, "tasks_per_step": 4, "schedule": "cosine"},
    }
    each = _timed(recipe_of(tree, "prepared"), base)
    if minutes is not None:
        iterations = int(60 * minutes / (each * OVERHEAD))
        if iterations < FEWEST:
            least = each * OVERHEAD * FEWEST / 60
            raise RecipeError(
                f"--minutes {minutes:g} allows {iterations} iterations here; give {least:.1f} or more, "
                "or a smaller model"
            )
    if labelled:
        tree["readout"]["primed"] = min(PRIMED, 4 * iterations)
        each += each * WORTH * tree["readout"]["primed"] / iterations
    tree["train"] |= {"iterations": iterations, "validate_every": max(5, iterations // 5), "checkpoint_every": 10}
    return Plan(recipe_of(tree, "prepared"), base, iterations, each * OVERHEAD * iterations)


def prepare(planned: Plan, out: str | Path) -> Iterator[Event]:
    """Carries a plan out into the folder `out`; yields the events of `meta_train`."""
    return meta_train(planned.recipe, out, base=planned.base)


def free_folder(home: Path, model: str) -> Path:
    """A folder for a new run under `home`, named after the base and not there yet."""
    name = re.sub(r"[^\w.-]+", "-", located(model).rstrip("/").rsplit("/", 1)[-1]) or "run"
    number = 1
    while (folder := home / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _tasks(files: list[str]) -> tuple[dict[str, Any], bool]:
    if not files:
        return {"kind": "synthetic"}, True
    records = read_examples(files)
    labelled, grouped = records[0].example.label is not None, records[0].group is not None
    many = len(files) > 1 or Path(files[0]).is_dir()
    tasks: dict[str, Any] = {"kind": "at_hand", "files": files}
    tasks |= {"group": "file"} if many and not grouped else {}
    for shots in SHOTS:
        tasks |= {"shots": shots, "queries": shots}
        try:
            at_hand(**{key: value for key, value in tasks.items() if key != "kind"})
            break
        except DataError:
            if shots == SHOTS[-1]:
                raise
    return tasks, labelled


def _timed(recipe: Recipe, base: Any) -> float:
    """Seconds of one iteration: the shorter of two, since the first one also warms up."""
    composed = compose(recipe, base)
    try:
        trainer = Trainer(recipe, composed, recipe.make("tasks"), Path("unused"))
        seconds = []
        for _ in range(2):
            began = perf_counter()
            trainer.step()
            seconds.append(perf_counter() - began)
        return min(seconds)
    finally:
        composed.model.detach()
