"""The public API, the same in scripts and notebooks.

    from mlx_melpa.api import Store, adapt, evaluate, load_recipe, meta_train, open_run

    for event in meta_train(load_recipe("quickstart"), "runs/mine"):
        print(event)
    run = open_run("runs/mine")
    outcome = adapt(run, "notes.jsonl")
    with Store() as store:
        store.put("me", outcome.version)
    print(evaluate(run, episodes=100)["meta"]["accuracy"])

Import it before `mlx.core`: on Linux it brings the fast BLAS.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)

from .config.recipe import Recipe, load_recipe
from .core.types import Example
from .data.readers import read_examples
from .evaluation.compare import compare, tasks_of
from .evaluation.methods import USUAL
from .personal.acceptance import MARGIN
from .personal.adaptation import adapt_person
from .personal.examples import check_about
from .personal.result import Outcome
from .store import Store, Version
from .store.run import Run, load_run
from .training.meta_train import meta_train

__all__ = ["Example", "Outcome", "Recipe", "Run", "Store", "Version"]
__all__ += ["adapt", "evaluate", "load_recipe", "meta_train", "open_run"]


def open_run(
    folder: str | Path, *, model: str | None = None, other_weights: bool = False, backend: str | None = None
) -> Run:
    """Loads a meta-trained run with its base, or with another copy of it by name or folder (see `run.load_run`)."""
    return load_run(folder, model=model, other_weights=other_weights, backend=backend)


def adapt(
    run: Run,
    examples: str | Path | Sequence[Example],
    *,
    previous: Version | None = None,
    steps: int | Literal["auto"] = "auto",
    seed: int = 0,
    kept: Sequence[Example] = (),
    margin: float = MARGIN,
    about: str = "",
) -> Outcome:
    """Adapts to one person's examples, a file or a list, from their previous version if there is one.

    `kept` are earlier examples (`Store.kept`): one half is rehearsed, on the other the loss may rise by `margin` nats
    at most. `about` describes the person, for a run that begins from descriptions.

    The outcome's `version` is what a Store takes; nothing is stored here. Raises DataError.
    """
    if isinstance(examples, (str, Path)):
        examples = [record.example for record in read_examples(str(examples))]
    check_about(run, about)
    return adapt_person(run, examples, previous=previous, steps=steps, seed=seed, kept=kept, margin=margin, about=about)


def evaluate(
    run: Run,
    tasks: str | Path | None = None,
    *,
    episodes: int = 600,
    steps: int | None = None,
    seed: int = 0,
    methods: Sequence[str] = USUAL,
    **sizes: Any,
) -> dict[str, Any]:
    """Measures a run beside its baselines on unseen tasks: those of a file, or the run's own test tasks.

    `sizes`: group, label, ways, shots, queries. Returns what `melpa eval --json` prints.
    """
    held, training, notes = tasks_of(run, tasks, **sizes)
    return compare(run, held, training, episodes=episodes, steps=steps, seed=seed, methods=methods, notes=notes).results
