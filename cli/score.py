"""`melpa score`: how well a user's adapter fits a file."""

from pathlib import Path
from typing import Annotated

import typer

from .console import command, json_out, note, table
from .options import AllowOtherWeights, Json, Model, User


@command
def score(
    data: Annotated[Path, typer.Argument(help="Examples, as melpa adapt takes them.")],
    user: User,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
    json: Json = False,
) -> None:
    """Measure how well the adapter fits a file, beside the base."""
    from mlx_melpa.data.readers import read_examples
    from mlx_melpa.personal.resolve import BaseChoice, load_user
    from mlx_melpa.personal.score import score as measure
    from mlx_melpa.store import Store, check_id

    examples = [record.example for record in read_examples(data)]
    with Store() as store:
        run, version = load_user(store, check_id(user), BaseChoice(model, allow_other_weights))
    found = measure(run, version, examples)
    if json:
        json_out(found | {"user": version.user, "version": version.number})
        return
    for remark in found["notes"]:
        note(remark)
    base_name = f"chance, {len(version.labels)} labels" if version.labels else version.base_name
    names = list(found["adapted"])
    rows = [
        (base_name, *(found["base"].get(name) for name in names)),
        (f"version {version.number} of '{version.user}'", *(found["adapted"][name] for name in names)),
    ]
    table((f"{found['examples']} examples", *(name.replace("_", " ") for name in names)), rows)
