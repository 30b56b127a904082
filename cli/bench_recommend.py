"""`melpa bench recommend`: whether the best method is predicted for new data, and tasks are known by similarity"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .bench_few_shot import foretold
from .console import command, json_out, names, note, out, progress, table


@command
def recommend(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs of one base; adapting with each is a candidate.")],
    tasks: Annotated[
        list[str],
        typer.Option(metavar="FILE[:GROUP]", help="A source of cases, or one for each value of the field GROUP."),
    ],
    label: Annotated[str | None, typer.Option(help="The field of the label.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Candidates with commas, such as prototypes,adapt; all unless given.")
    ] = None,
    cases: Annotated[int, typer.Option(help="Drawn tasks, spread evenly over sources.", min=3)] = 120,
    ways: Annotated[int, typer.Option(help="Labels of a case.", min=2)] = 5,
    shots: Annotated[int, typer.Option(help="Examples of each label to adapt from.", min=2)] = 5,
    queries: Annotated[int, typer.Option(help="Examples of each label to be judged on.", min=1)] = 15,
    neighbours: Annotated[int, typer.Option(help="Nearest other cases that predict.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Of the cases.", min=0)] = 0,
    backend: Annotated[Literal["mlx", "torch"] | None, typer.Option(help="The engine; the runs' own.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say how long it takes, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep cases and results there; go on from them.")
    ] = None,
) -> None:
    """Draw cases of several sources, and say how often the best method and the most similar task are predicted."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.benchmarks.recommendation import run as bench
    from mlx_melpa.benchmarks.recommendation.report import head, tables
    from mlx_melpa.benchmarks.recommendation.settings import Settings, sources
    from mlx_melpa.recommendation.recommend import METHODS
    from mlx_melpa.store.run import load_run

    loaded = tuple(load_run(run, backend=backend) for run in runs)
    sizes = {"ways": ways, "shots": shots, "queries": queries}
    found, notes = sources(tasks, {run.name: run.info["seen"] for run in loaded}, label=label, **sizes)
    settings = Settings(
        runs=loaded,
        sources=found,
        cases=cases,
        methods=names(methods) or METHODS,
        neighbours=neighbours,
        seed=seed,
        notes=notes,
        out=folder,
    )
    if estimate:
        foretold(bench.estimate(settings), json)
        return
    with progress("measuring", total=cases, quiet=json) as advance:
        measured = bench.recommend(settings, advance)
    if json:
        json_out(measured)
        return
    out(head(measured))
    for title, columns, lines in tables(measured):
        out(f"\n{title}")
        table(columns, lines)
    for text in measured["notes"]:
        note(text)
    note(f"tables, numbers and picture: {folder}")
