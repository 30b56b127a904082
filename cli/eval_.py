"""`melpa eval`: measures a run on unseen tasks, beside the baselines."""

import functools
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import command, json_out, note, out, progress, table
from .options import AllowOtherWeights, Json, names

COLUMNS = (
    "accuracy",
    "f1",
    "bits_per_byte",
    "bleu",
    "rouge_l",
    "perplexity",
    "ci95",
    "loss",
    "steps",
    "lr",
    "seconds_per_task",
)


@command
def eval_(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    tasks: Annotated[
        list[str] | None, typer.Option(help="A file or folder of tasks; the run's own test tasks unless given.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="The field that makes a task; '' where none does.")] = None,
    label: Annotated[str | None, typer.Option(help="The field of the label.")] = None,
    ways: Annotated[int | None, typer.Option(help="Labels of an episode.", min=2)] = None,
    shots: Annotated[int | None, typer.Option(help="Examples to adapt from, per label or person.", min=1)] = None,
    queries: Annotated[int | None, typer.Option(help="Examples to be judged on, per label or person.", min=1)] = None,
    episodes: Annotated[int, typer.Option(help="How many episodes.", min=1)] = 600,
    steps: Annotated[int | None, typer.Option(help="Inner steps; the run's own unless given.", min=0)] = None,
    seed: Annotated[int, typer.Option(help="Of the episodes and the random start.", min=0)] = 0,
    methods: Annotated[
        str,
        typer.Option(
            help="Which of base, prototypes, logistic_regression, in_context, random_start, meta; "
            "with commas. all leaves in_context out, which is slow."
        ),
    ] = "all",
    tuning_episodes: Annotated[int, typer.Option(help="Training episodes to tune the baselines on.", min=2)] = 60,
    generate: Annotated[
        int,
        typer.Option(
            help="BLEU and ROUGE-L of one text for each of the first N episodes; writing is slow: try 50.",
            metavar="N",
            min=0,
        ),
    ] = 0,
    base: Annotated[str | None, typer.Option(help="Another copy of the run's base model.")] = None,
    allow_other_weights: AllowOtherWeights = False,
    backend: Annotated[
        Literal["mlx", "torch"] | None, typer.Option(help="The engine; the run's own unless given.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Write eval.json and a plot of the measure against steps.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure a run on unseen tasks, beside the baselines, all on the same episodes."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.evaluation import compare as baselines
    from mlx_melpa.store.run import load_run

    loaded = load_run(run, model=base, other_weights=allow_other_weights, backend=backend)
    held, training, notes = baselines.tasks_of(
        loaded, tasks, group=group, label=label, ways=ways, shots=shots, queries=queries
    )
    chosen = baselines.USUAL if methods == "all" else names(methods)
    found = baselines.compare(
        loaded,
        held,
        training,
        episodes=episodes,
        steps=steps,
        seed=seed,
        methods=chosen,
        notes=notes,
        curves=folder is not None,
        tuning_episodes=tuning_episodes,
        generate=generate,
        bar=functools.partial(progress, quiet=json),
    )
    if folder is not None:
        write(folder, found)
    if json:
        json_out(found.results)
        return
    show(found.results)
    for text in notes:
        note(text)


def write(folder: Path, found: Any) -> None:
    """Writes eval.json and, where a method has steps, the plot."""
    import json

    from mlx_melpa.core.atomic import replace_text
    from mlx_melpa.evaluation.methods import METHODS
    from mlx_melpa.evaluation.plots import plot_curves

    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "eval.json", json.dumps(found.results, indent=1) + "\n")
    if found.curves:
        flat = {
            METHODS[n]: found.results[n][found.main]
            for n in ("prototypes", "logistic_regression")
            if n in found.results
        }
        plot_curves(folder / "steps.png", found.curves, measure=found.main, lines=flat)


def show(results: dict[str, Any]) -> None:
    """Prints one line a method."""
    from mlx_melpa.evaluation.methods import METHODS

    rows = {}
    for name in [name for name in results if name in METHODS]:
        rows[METHODS[name] + (", same steps" if name == "random_start" else "")] = results[name]
        if name == "random_start":
            rows[f"{METHODS[name]}, best steps"] = results[name]["best"]
    columns = [name for name in COLUMNS if any(name in row for row in rows.values())]
    table(
        ("", *(c.replace("_", " ") for c in columns)),
        [(name, *(row.get(c) for c in columns)) for name, row in rows.items()],
    )
    if "meta" in results:
        share, worst = results["meta"]["worse_than_base"], results["meta"]["worst_5_percent"]
        out(f"Meta-learned: {share:.1%} of tasks worse than the base; the worst 5% of tasks average {worst:.4g}.")
