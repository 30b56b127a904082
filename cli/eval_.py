"""`melpa eval`: measures a run on unseen tasks, beside the baselines."""

from pathlib import Path
from typing import Annotated

import typer

from mlx_melpa.evaluation.settings import COMPARED, USUAL, CompareSettings

from .console import command, json_out, note, out, progress, table
from .options import (
    AllowOtherWeights,
    Backend,
    Episodes,
    Generate,
    Group,
    Json,
    Label,
    Model,
    Queries,
    Seed,
    Shots,
    TuningEpisodes,
    Ways,
    names,
)


@command
def eval_(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    tasks: Annotated[
        list[str] | None, typer.Option(help="A file or folder of tasks; the run's own test tasks by default.")
    ] = None,
    group: Group = None,
    label: Label = None,
    ways: Ways = None,
    shots: Shots = None,
    queries: Queries = None,
    episodes: Episodes = CompareSettings.episodes,
    steps: Annotated[int | None, typer.Option(help="Inner steps; the run's by default.", min=0)] = None,
    seed: Seed = CompareSettings.seed,
    methods: Annotated[
        str,
        typer.Option(help=f"Names with commas out of {', '.join(COMPARED)}; all leaves in_context out, which is slow."),
    ] = "all",
    tuning_episodes: TuningEpisodes = CompareSettings.tuning_episodes,
    generate: Generate = CompareSettings.generate,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
    backend: Backend = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write eval.json and a plot of the measure against steps."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure a run on unseen tasks, beside the baselines, all on the same episodes."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.evaluation import report
    from mlx_melpa.evaluation.compare import compare
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
    loaded = load_run(run, model=model, other_weights=allow_other_weights, backend=backend)
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
