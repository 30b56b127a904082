"""The public API, the same in scripts and notebooks.

    from mlx_melpa.api import Store, adapt, evaluate, load_recipe, meta_train, open_run

    for event in meta_train(load_recipe("quickstart"), "runs/mine"):
        print(event)
    run = open_run("runs/mine")
    result = adapt(run, "notes.jsonl")
    with Store() as store:
        store.put("me", result.version)
    print(evaluate(run, episodes=100)["meta"]["accuracy"])

Import it before `mlx.core`: on Linux it brings the fast BLAS.
"""

from pathlib import Path
from typing import Any

import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)

from .config.recipe import Recipe, load_recipe
from .core.types import Example
from .evaluation.compare import compare
from .evaluation.settings import CompareSettings
from .evaluation.unseen_tasks import Sizes, TaskFiles, tasks_of
from .personal.adaptation import adapt_user as adapt
from .personal.result import Adaptation
from .store import Store, Version
from .store.run import Run, load_run
from .training.meta_train import meta_train

__all__ = ["Adaptation", "Example", "Recipe", "Run", "Sizes", "Store", "TaskFiles", "Version"]
__all__ += ["adapt", "evaluate", "load_recipe", "meta_train", "open_run"]


def open_run(
    folder: str | Path, *, model: str | None = None, other_weights: bool = False, backend: str | None = None
) -> Run:
    """Loads a meta-trained run with its base, or with another copy of it by name or folder (see `run.load_run`)."""
    return load_run(folder, model=model, other_weights=other_weights, backend=backend)


def evaluate(
    run: Run, tasks: TaskFiles | str | Path | None = None, sizes: Sizes | None = None, **settings: Any
) -> dict[str, Any]:
    """Measures a run beside its baselines on unseen tasks: those of files, or the run's own test tasks.

    `sizes` are those of an episode; `settings` are fields of CompareSettings, such as episodes=100. Returns what `melpa
    eval --json` prints.
    """
    files = TaskFiles(tasks) if isinstance(tasks, (str, Path)) else tasks
    return compare(run, tasks_of(run, files, sizes), CompareSettings(**settings)).results
