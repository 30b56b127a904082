"""`melpa bench few-shot`: recipes and tuned baselines on unseen tasks."""

from pathlib import Path
from typing import Annotated

import typer

from mlx_melpa.benchmarks.few_shot.settings import Settings, shots_of

from .console import command, json_out, note, progress, table
from .options import Backend, Episodes, Generate, Group, Json, Label, Queries, Sets, TuningEpisodes, Ways, names

SHOWN = (
    "method",
    "gain over multi-task",
    "worse than base",
    "steps",
    "s/task",
    "bytes a user",
    "training s",
    "break-even tasks",
)
SHOTS = ",".join(map(str, Settings.shots))


@command
def few_shot(
    recipes: Annotated[
        list[str],
        typer.Argument(
            help="Recipe files, names of packaged recipes, or variants of them: "
            "NAME=RECIPE,KEY=VALUE,... such as no-curriculum=gb-moa,sampler=uniform."
        ),
    ],
    shots: Annotated[str, typer.Option(help="Support examples per label or user; numbers with commas.")] = SHOTS,
    seeds: Annotated[
        int, typer.Option(help="Meta-trainings of each recipe, with seeds 0, 1, ...", min=1)
    ] = Settings.seeds,
    episodes: Episodes = Settings.episodes,
    tuning_episodes: TuningEpisodes = Settings.tuning_episodes,
    tasks: Annotated[
        str | None, typer.Option(help="A file or folder of test tasks; the recipes' own unless given.")
    ] = None,
    group: Group = None,
    label: Label = None,
    ways: Ways = None,
    queries: Queries = None,
    generate: Generate = Settings.generate,
    methods: Annotated[
        str,
        typer.Option(
            help=f"Names with commas out of {', '.join(Settings.methods)} (meta: the recipes). A folder made with "
            "fewer goes on with more."
        ),
    ] = "all",
    sets: Sets = None,
    backend: Backend = None,
    json: Json = False,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Store runs and results there, and resume from them.")
    ] = None,
) -> None:
    """Meta-train recipes and compare them with tuned baselines on unseen tasks, in one table."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.benchmarks.few_shot import break_even, report
    from mlx_melpa.benchmarks.few_shot import run as bench
    from mlx_melpa.benchmarks.few_shot.jobs import Jobs
    from mlx_melpa.benchmarks.few_shot.variants import load
    from mlx_melpa.config.build import on_backend
    from mlx_melpa.evaluation.unseen_tasks import TaskFiles

    settings = Settings(
        recipes=tuple(on_backend(load(recipe, sets or ()), backend) for recipe in recipes),
        shots=shots_of(names(shots)),
        seeds=seeds,
        episodes=episodes,
        tuning_episodes=tuning_episodes,
        ways=ways,
        queries=queries,
        files=TaskFiles(tasks, group, label) if tasks else None,
        generate=generate,
        methods=Settings.methods if methods == "all" else names(methods),
        out=folder,
    )
    jobs = Jobs(settings)
    with progress("few-shot", total=len(jobs.runs) + len(jobs.measurements), quiet=json) as advance:
        found = bench.few_shot(jobs, advance)
    if json:
        json_out(found)
        return
    columns, lines = report.rows(found)
    kept = [i for i, name in enumerate(columns) if name in SHOWN or name.endswith((" shot", " shots"))]
    table([columns[i] for i in kept], [[line[i] for i in kept] for line in lines])
    columns, lines = break_even.rows(found["methods"])
    if lines:
        table(columns, lines)
    if found["left_out"]:
        note(f"left out: {', '.join(found['left_out'])}")
    for text in found["notes"]:
        note(text)
    note(f"table, numbers and pictures: {folder}")
