"""`melpa eval`: measures a run on unseen tasks, beside the baselines."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .console import command, json_out, note, out, progress, table
from .options import AllowOtherWeights, Json, names


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
    from mlx_melpa.evaluation import report
    from mlx_melpa.evaluation.compare import USUAL, CompareSettings, compare
    from mlx_melpa.evaluation.unseen_tasks import Sizes, TaskFiles, tasks_of
    from mlx_melpa.store.run import load_run

    settings = CompareSettings(
        episodes=episodes,
        tuning_episodes=tuning_episodes,
        steps=steps,
        seed=seed,
        methods=USUAL if methods == "all" else names(methods),
        generate=generate,
        curves=folder is not None,
    )
    loaded = load_run(run, model=base, other_weights=allow_other_weights, backend=backend)
    files = TaskFiles(tasks, group, label) if tasks else None
    unseen = tasks_of(loaded, files, Sizes(ways, shots, queries))
    with progress("measuring", total=episodes, quiet=json) as advance:
        found = compare(loaded, unseen, settings, advance)
    if folder is not None:
        report.write(folder, found)
    if json:
        json_out(found.results)
        return
    table(*report.table(found.results))
    sentence = report.harm_sentence(found.results)
    if sentence:
        out(sentence)
    for text in unseen.notes:
        note(text)
