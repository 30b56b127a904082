"""`melpa import`: an exported adapter, or one that mlx-lm trained, as a stored version."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import command, json_out, note, out
from .options import AllowOtherWeights, Engine, Json, User

if TYPE_CHECKING:
    from mlx_melpa.backends.base import BaseModel
    from mlx_melpa.exports.common import Imported
    from mlx_melpa.store import Store, Version


@command
def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What melpa export or mlx-lm's trainer wrote.")],
    user: User,
    model: Annotated[
        str | None, typer.Option(help="The base model, by hub name or folder; default the one that the files name.")
    ] = None,
    allow_other_weights: AllowOtherWeights = False,
    backend: Annotated[Engine, typer.Option(help="The engine that knows the base model.")] = "mlx",
    json: Json = False,
) -> None:
    """Read an exported adapter, or one that mlx-lm trained, into the store."""
    from mlx_melpa.backends.checkpoints import located
    from mlx_melpa.config.build import part_of
    from mlx_melpa.errors import ExportError
    from mlx_melpa.exports import base_name, read
    from mlx_melpa.store import Store, check_id
    from mlx_melpa.store.run import check_base

    user, folder = check_id(user), folder.expanduser()
    name = base_name(folder) if model is None else model
    if name is None:
        raise ExportError(f"{folder} names no base model; give the one that it was trained on: --model MODEL")
    loaded = part_of(backend, "model").load(located(name))
    found = read(loaded, folder)
    if {"name", "family", "weights"} <= found.metadata.base.keys():
        check_base(loaded, dict(found.metadata.base), f"the adapter in {folder}", allow_other_weights)
    with Store() as store:
        version, half = _version(store, loaded, found, backend)
        number = store.put(user, version, parent=None, half=half)
        nbytes = store.get(user, number).nbytes
    if json:
        json_out(
            {"user": user, "version": number, "base": loaded.name, "run": version.run, "adapter": found.adapter}
            | {"labels": version.labels, "parameters": found.row.size, "bytes": nbytes}
        )
        return
    out(f"Version {number} of '{user}': {found.adapter['kind']} on {loaded.name}, {found.row.size:,} numbers.")
    if version.run is None:
        note("it comes without a run: adapting it further takes Adam in place of a meta-learned rule")


def _version(store: "Store", base: "BaseModel", found: "Imported", backend: str) -> tuple["Version", bool]:
    """The version, and whether half precision holds its row exactly."""
    import numpy as np

    from mlx_melpa.config.renamed import rename
    from mlx_melpa.store import Origin, UserState, Version

    metadata = found.metadata
    # version 0.1 called some settings otherwise
    parts, _ = rename({"adapter": dict(found.adapter), "readout": metadata.readout or {"kind": "completion"}})
    rows, shared = metadata.layout.divide(found.row[None])
    known = metadata.run if metadata.run in {run.fingerprint for run in store.runs()} else None
    version = Version(
        UserState.from_arrays({**metadata.arrays, "rows": rows, **({"shared": shared} if shared.size else {})}),
        metadata.layout.personal,
        base.family,
        base.name,
        base.weights,
        known,
        "import",
        labels=metadata.labels,
        origin=Origin(backend, **parts),
    )
    with np.errstate(over="ignore"):
        return version, bool(np.array_equal(rows.astype(np.float16).astype(np.float32), rows))
