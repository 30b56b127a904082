"""Unattended meta-training for any base, from simulated people and whatever files are at hand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backends.checkpoints import located
from ..config.build import part_of
from ..config.recipe import Recipe, recipe_of
from ..config.schema import build
from ..data.readers import read_examples
from ..errors import DataError, RecipeError
from ..tasks.mixed import mixed
from .estimate import estimate
from .meta_train import Event, meta_train

ITERATIONS = 200
FEWEST = 10
SHOTS = (5, 3, 2, 1)
PRIMED = 100
"""Episodes that the readout's metric begins from."""


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
    """Chooses a recipe for a base and times a few of its iterations; `minutes` sets how many there will be.

    LoRA of rank 8 on all linear layers of the upper half of the blocks, so that the lower half runs once; first-order
    MAML; ridge regression for labels, likelihood for text. Raises ModelError, DataError, and RecipeError where
    `minutes` allow fewer than 10 iterations.
    """
    base = part_of(backend, "model").load(located(model))
    tasks, labelled = _tasks([str(Path(file).expanduser().resolve()) for file in files])
    tree: dict[str, Any] = {
        "backend": backend,
        "model": base.name,
        "adapter": {"kind": "lora", "rank": 8, "scale": 2.0, "layers": max(1, len(base.blocks) // 2)},
        "tasks": tasks,
        **_form(labelled),
        "train": {"tasks_per_step": 4, "schedule": "cosine"},
    }
    _settle(tree, iterations)
    found = estimate(recipe_of(tree, "prepared"), base)

    def seconds(count: int) -> float:
        _settle(tree, count)
        return found.total(recipe_of(tree, "prepared").train, tree["readout"].get("primed", 0))

    if minutes is not None:
        iterations = int(60 * minutes / found.iteration)
        while iterations and (expected := seconds(iterations)) > 60 * minutes:
            iterations = min(iterations - 1, int(iterations * 60 * minutes / expected))
        if iterations < FEWEST:
            raise RecipeError(
                f"--minutes {minutes:g} allows {iterations} iterations here; give {seconds(FEWEST) / 60:.1f} or more, "
                "or a smaller model"
            )
    expected = seconds(iterations)
    return Plan(recipe_of(tree, "prepared"), base, iterations, expected)


def _form(labelled: bool) -> dict[str, Any]:
    """Readout, rule and steps. Texts take more and larger steps than labels, where ridge regression does much alone."""
    if labelled:
        readout, lr, steps = {"kind": "ridge", "primed": 0, "temperature": 20.0}, 1e-3, 2
    else:
        readout, lr, steps = {"kind": "completion"}, 3e-3, 4
    return {
        "readout": readout,
        "rule": {"kind": "adam", "lr": lr},
        "learner": {"kind": "fomaml", "steps": steps},
    }


def _settle(tree: dict[str, Any], iterations: int) -> None:
    """Writes into a recipe what follows from the number of iterations."""
    if "primed" in tree["readout"]:
        tree["readout"]["primed"] = min(PRIMED, 4 * iterations)
    tree["train"] |= {"iterations": iterations, "validate_every": max(5, iterations // 5), "checkpoint_every": 10}


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
    tasks: dict[str, Any] = {"kind": "mixed", "files": files}
    tasks |= {"group": "file"} if many and not grouped else {}
    for shots in SHOTS:
        tasks |= {"shots": shots, "queries": shots}
        try:
            build(mixed, (), {key: value for key, value in tasks.items() if key != "kind"})
            break
        except DataError:
            if shots == SHOTS[-1]:
                raise
    return tasks, labelled
