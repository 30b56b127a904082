"""`melpa prepare`: a run for any base model, from simulated people and files."""

from pathlib import Path
from typing import Annotated

import typer

from .console import agree, command, note
from .meta_train import finish, follow
from .options import Engine, Yes


@command
def prepare(
    model: Annotated[str, typer.Argument(help="The base model: pocket, a hub name, or a folder.")],
    tasks: Annotated[
        list[str] | None, typer.Option(metavar="FILE|FOLDER", help="Examples of many tasks or people; may be repeated.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="The longest time it may take.", min=0.01)] = None,
    iterations: Annotated[int, typer.Option(help="The number of iterations, unless --minutes is given.", min=1)] = 200,
    backend: Annotated[Engine, typer.Option(help="The engine.")] = "mlx",
    to: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The run's folder.")] = None,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; implies --yes.")] = False,
) -> None:
    """Meta-train for any base model on simulated people, and on files of your own."""
    from mlx_melpa.store import Store
    from mlx_melpa.training.prepare import free_folder, plan
    from mlx_melpa.training.prepare import prepare as carry_out

    planned = plan(model, tasks or (), minutes=minutes, iterations=iterations, backend=backend)
    with Store() as store:
        folder = to or free_folder(store.path.parent / "runs", model)
    what = "simulated people and your files" if tasks else "simulated people"
    note(f"{planned.iterations} iterations on {what} take about {max(0.1, planned.seconds / 60):.1f} minutes")
    note(f"the run is written to {folder}")
    agree("Begin?", yes or json, "nothing done")
    finish(follow(carry_out(planned, folder), folder, json), folder, json)
