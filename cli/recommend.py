"""`melpa recommend`: which run and which method suit new data."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from .console import command, json_out, note, out, table
from .options import Json


@command
def recommend(
    data: Annotated[Path, typer.Argument(help="Examples, as melpa adapt takes them.")],
    run: Annotated[str | None, typer.Option(help="Look at this known run alone.")] = None,
    seed: Annotated[int, typer.Option(help="Of the tasks and examples that are drawn.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Rank known runs by how like their tasks are to new data, and methods by examples that are left out."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.data.readers import read_examples
    from mlx_melpa.recommendation.recommend import recommend as look
    from mlx_melpa.store import Store

    examples = [record.example for record in read_examples(data)]
    with Store() as store:
        found = look(store, examples, run, seed)
    if json:
        json_out({**record(found), "command": command_for(found, data)})
    else:
        show(found, data)


def record(found: Any) -> dict[str, Any]:
    """What --json prints."""
    runs = [
        {"run": name, "similarity": alike.mean, "embeddings": alike.embeddings, "tasks": list(alike.tasks)}
        for name, alike in found.runs
    ]
    chosen = {"run": found.runs[0][0], "method": found.method, "steps": found.steps, "rank": found.rank}
    rest = {"methods": found.methods, "asked": found.asked, "prompt_is_better": found.prompt_is_better}
    return {"recommended": chosen, "runs": runs, **rest, "notes": list(found.notes)}


def command_for(found: Any, data: Path) -> str:
    """The order that makes the most of the data here, whichever method is best."""
    return f"melpa adapt --user NAME {quote(str(data))} --run {quote(found.folder)}"


def show(found: Any, data: Path) -> None:
    """Prints the runs, the methods, and a sentence that says what to do."""
    kinds = list(dict.fromkeys(kind for _, alike in found.runs for kind in alike.embeddings))
    from mlx_melpa.evaluation.methods import METHODS

    rows = [
        (name, alike.mean, *(alike.embeddings.get(kind) for kind in kinds), ", ".join(alike.tasks[:3]))
        for name, alike in found.runs
    ]
    table(("run", "typical", *kinds, "nearest tasks"), rows, title="How typical the data is of what runs learned from")
    columns = [c for c in ("accuracy", "bits_per_byte", "loss", "ci95") if c in next(iter(found.methods.values()))]
    titles = {**METHODS, "adapt": "adapting"}
    methods = [(titles[name], *(measures[c] for c in columns)) for name, measures in found.methods.items()]
    title = f"With run {found.runs[0][0]}, on {found.asked} examples, each left out once"
    table(("method", *(c.replace("_", " ") for c in columns)), methods, title=title)
    name, rank = found.runs[0][0], f", rank {found.rank}" if found.rank else ""
    out(f"Take {titles[found.method]} with run {name}{rank}.")
    if found.method != "adapt":
        out(f"No command keeps {titles[found.method]}. What melpa can keep, with as many steps as serve, maybe none:")
    out(command_for(found, data))
    if found.prompt_is_better:
        out("A prompt with the examples does better than adapting here.")
    for text in found.notes:
        note(text)
