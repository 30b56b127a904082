"""The row with its layout in one safetensors file: any adapter, with all that a person's state holds."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..adapters import KINDS
from ..backends.adapted import AdaptedBase
from ..core.bases import Adapter, Settings
from ..core.layout import Layout
from ..errors import ExportError
from .common import Exported, Imported, Metadata, adapter_values, file_sizes, metadata_of, new_folder

FILE = "melpa.safetensors"
FORMAT = "melpa 1"


def melpa(adapted: AdaptedBase, row: np.ndarray, out: Path, *, metadata: Metadata | None = None) -> Exported:
    """Writes a row (P,) of an adapted base to OUT/melpa.safetensors: "rows" (1, P) float32 and the rest of the state.

    Raises ExportError for a row of another adapter, or a folder that holds other files.
    """
    metadata = metadata or metadata_of(adapted)
    adapter_values(adapted.layout, row, metadata)
    arrays = {**metadata.arrays, "rows": np.asarray(row, np.float32)[None]}
    described = {
        "format": FORMAT,
        "adapter": json.dumps(describe(adapted.adapter)),
        "layout": metadata.layout.to_json(),
        "base": json.dumps(dict(metadata.base)),
        "run": metadata.run or "",
        "readout": json.dumps(metadata.readout),
        "labels": json.dumps(metadata.labels, ensure_ascii=False),
    }
    with new_folder(out, (FILE,)) as draft:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, draft / FILE, described)
        if not np.array_equal(read_melpa(draft).row, arrays["rows"][0]):
            raise ExportError(f"{FILE} does not hold the row that was written; check the disk of {out.parent}")
    return Exported("melpa", out, file_sizes(out))


def read_melpa(folder: Path) -> Imported:
    """Reads what `melpa` wrote; raises ExportError where it is missing, damaged or of a later format."""
    path = folder / FILE
    if not path.is_file():
        raise ExportError(f"there is no {FILE} in {folder}; give a folder that melpa export --to melpa wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            described = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ExportError(f"{path} can't be read ({error}); export it again") from error
    if described.get("format") != FORMAT:
        raise ExportError(
            f"{path} has format {described.get('format')!r}, this version reads {FORMAT!r}; update mlx-melpa"
        )
    try:
        adapter, base = json.loads(described["adapter"]), json.loads(described["base"])
        layout, labels = Layout.from_json(described["layout"]), tuple(json.loads(described["labels"]))
        readout = json.loads(described["readout"])
    except (KeyError, ValueError) as error:
        raise ExportError(f"{path} does not say what its row is ({error}); export it again") from error
    rows = arrays.pop("rows", np.zeros(0))
    if rows.shape != (1, layout.size):
        raise ExportError(
            f"{path} holds rows of shape {rows.shape}, its layout has (1, {layout.size}); export it again"
        )
    return Imported(adapter, rows[0], Metadata(layout, base, described["run"] or None, readout, labels, arrays))


def describe(adapter: Adapter) -> Settings:
    """An adapter's kind and settings in JSON's own types: what `build` takes."""
    return json.loads(json.dumps({"kind": adapter.kind, **vars(adapter)}))


def build(described: Settings) -> Adapter:
    """The adapter that `describe` described; raises ExportError for a kind or setting that is not known here."""
    try:
        return KINDS[described["kind"]](**{name: value for name, value in described.items() if name != "kind"})
    except (KeyError, TypeError) as error:
        raise ExportError(f"an adapter {described} is not known here ({error}); update mlx-melpa") from error
