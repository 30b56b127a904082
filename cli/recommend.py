"""`melpa recommend`: the run and the method that suit new data."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from .console import command, json_out, note, out, table
from .options import Json, Seed

if TYPE_CHECKING:
    from mlx_melpa.recommendation.recommend import Recommendation


@command
def recommend(
    data: Annotated[Path, typer.Argument(help="Examples, as melpa adapt takes them.")],
    run: Annotated[str | None, typer.Option(help="Look at this known run alone.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Rank known runs by task similarity to new data, and methods by leave-one-out on the data."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.data.readers import read_examples
    from mlx_melpa.recommendation.recommend import recommend as look
    from mlx_melpa.store import Store

    examples = [record.example for record in read_examples(data)]
    with Store() as store:
        found = look(store, examples, run, seed)
    if json:
        json_out({**found.to_json(), "command": command_for(found, data)})
    else:
        show(found, data)


def command_for(found: "Recommendation", data: Path) -> str:
    """The command that adapts to the data, whichever method is best."""
    return f"melpa adapt --user NAME {quote(str(data))} --run {quote(found.folder)}"


def show(found: "Recommendation", data: Path) -> None:
    """Prints the runs, the methods, and the recommendation as a sentence."""
    from mlx_melpa.evaluation.methods import METHODS

    kinds = list(dict.fromkeys(kind for _, alike in found.runs for kind in alike.embeddings))
    rows = [
        (name, alike.mean, *(alike.embeddings.get(kind) for kind in kinds), ", ".join(alike.tasks[:3]))
        for name, alike in found.runs
    ]
    table(("run", "typical", *kinds, "nearest tasks"), rows, title="How typical the data is of runs' training tasks")
    columns = [c for c in ("accuracy", "bits_per_byte", "loss", "ci95") if c in next(iter(found.methods.values()))]
    titles = {**{name: method.title for name, method in METHODS.items()}, "adapt": "adapting"}
    methods = [(titles[name], *(measures[c] for c in columns)) for name, measures in found.methods.items()]
    title = f"With run {found.runs[0][0]}, on {found.held_out} examples, each left out once"
    table(("method", *(c.replace("_", " ") for c in columns)), methods, title=title)
    name, rank = found.runs[0][0], f", rank {found.rank}" if found.rank else ""
    out(f"Take {titles[found.method]} with run {name}{rank}.")
    if found.method != "adapt":
        out(f"No command stores {titles[found.method]}. The adaptation that melpa can store, maybe with no steps:")
    out(command_for(found, data))
    if found.in_context_is_better:
        out("A prompt with the examples does better than adapting here.")
    for text in found.notes:
        note(text)
