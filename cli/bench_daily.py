"""`melpa bench daily`: adapts every day for a while, and measures what is left of the first day."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import command, json_out, note, out, progress, size, table
from .options import Json, Seed, Sets


@command
def daily(
    run: Annotated[Path, typer.Argument(help="A run whose tasks are a file of labelled examples.")],
    days: Annotated[int, typer.Option(help="Calls of melpa adapt.", min=2)] = 100,
    labels: Annotated[int, typer.Option(help="Labels of a day's examples.", min=2)] = 3,
    shots: Annotated[int, typer.Option(help="Examples per label of a day.", min=1)] = 4,
    store_examples: Annotated[
        int | None, typer.Option("--store-examples", metavar="N", help="As in melpa adapt --store-examples.", min=1)
    ] = None,
    seed: Seed = 0,
    sets: Sets = None,
    json: Json = False,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write daily.json and plots there.")
    ] = None,
) -> None:
    """Adapt one user every day to examples of tasks that the run has not seen, one task after another."""
    import json as notation

    from mlx_melpa.benchmarks.continual import daily as bench
    from mlx_melpa.benchmarks.continual.tasks import load_stream
    from mlx_melpa.config.recipe import load_recipe
    from mlx_melpa.core.atomic import replace_text
    from mlx_melpa.store.run import describe

    seen = describe(run)["seen"]
    stream = load_stream(load_recipe(run / "recipe.yaml", sets or ()), shots=shots, seen=seen)
    history = bench.simulate_history(stream, days, labels, shots, seed)
    with progress("adapting", total=days, quiet=json) as advance:
        result = bench.daily(str(run.resolve()), history, store_examples, advance)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(folder / "daily.json", notation.dumps(result, indent=1) + "\n")
        bench.draw(result, folder)
    if json:
        json_out(result)
        return
    _show(result)
    for text in stream.notes:
        note(text)


def _show(result: dict[str, Any]) -> None:
    """Prints the first day's scores over the days, and the cost of a day."""
    scores = [(f"day {p['day']}", p["labels"], p["accuracy"], p["loss"]) for p in result["day_one"]]
    once = result["at_once"]
    table(
        ("day one's labels after", "labels so far", "accuracy", "loss"),
        [*scores, ("all days at once", once["labels"], once["accuracy"], once["loss"])],
    )
    seconds, nbytes = result["seconds"], result["bytes"]
    out(f"{result['kept']} of {result['days']} versions were accepted, with {result['notes_a_day']:g} examples a day")
    out(f"seconds a day: {seconds['first']:.2f} in the first tenth of the days, {seconds['last']:.2f} in the last")
    out(f"a version: {size(nbytes['first'])} in the first tenth of the days, {size(nbytes['last'])} in the last")
