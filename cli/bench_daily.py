"""`melpa bench daily`: adapts every day for a while, and says what is left of the first day."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import command, json_out, note, out, progress, size, table
from .options import Json


@command
def daily(
    run: Annotated[Path, typer.Argument(help="A run whose tasks are a file of labelled examples.")],
    days: Annotated[int, typer.Option(help="Calls of melpa adapt.", min=2)] = 100,
    labels: Annotated[int, typer.Option(help="Labels of a day's notes.", min=2)] = 3,
    shots: Annotated[int, typer.Option(help="A day's notes, per label.", min=1)] = 4,
    keep: Annotated[int | None, typer.Option(metavar="N", help="As in melpa adapt --keep.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the notes.", min=0)] = 0,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Change the tasks: tasks.train=FILE.")] = None,
    json: Json = False,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write daily.json and plots there.")
    ] = None,
) -> None:
    """Adapt one person every day to notes of tasks that the run has not seen, one task after another."""
    import json as notation

    from mlx_melpa.benchmarks.continual import daily as bench
    from mlx_melpa.benchmarks.continual.tasks import stream
    from mlx_melpa.config.recipe import load_recipe
    from mlx_melpa.core.atomic import replace_text
    from mlx_melpa.store.run import describe

    seen = describe(run)["seen"]
    tasks = stream(load_recipe(run / "recipe.yaml", sets or ()), shots=shots, seen=seen)
    lived = bench.diary(tasks, days, labels, shots, seed)
    with progress("living", total=days, quiet=json) as advance:
        found = bench.daily(str(run.resolve()), lived, keep, advance)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(folder / "daily.json", notation.dumps(found, indent=1) + "\n")
        bench.draw(found, folder)
    if json:
        json_out(found)
        return
    show(found)
    for text in tasks.notes:
        note(text)


def show(found: dict[str, Any]) -> None:
    """Prints day one's material over the days, and what a day costs."""
    points = [(f"day {p['day']}", p["labels"], p["accuracy"], p["loss"]) for p in found["day_one"]]
    once = found["at_once"]
    table(
        ("day one's material after", "labels so far", "accuracy", "loss"),
        [*points, ("all days at once", once["labels"], once["accuracy"], once["loss"])],
    )
    seconds, nbytes = found["seconds"], found["bytes"]
    out(f"{found['kept']} of {found['days']} versions became the answer, of {found['notes_a_day']:g} notes a day")
    out(f"seconds a day: {seconds['first']:.2f} in the first tenth of the days, {seconds['last']:.2f} in the last")
    out(f"a version: {size(nbytes['first'])} in the first tenth of the days, {size(nbytes['last'])} in the last")
