"""Shared parts of exports: a row's metadata, results, the comparison of logits, folders that appear whole."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..adapters.lora import Lora
from ..backends.adapted import AdaptedBase
from ..backends.base import BaseModel
from ..core.bases import Adapter, Settings
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.types import Array
from ..errors import ExportError

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Dear all,\nthank you for the 12 notes from Monday. Best wishes",
    '{"name": "value", "list": [1, 2, 3]}',
)
"""The texts whose logits are compared."""
MAX_DIFFERENCE = 1e-3
"""The largest allowed difference of two logits, as a share of the largest logit, in float32."""
MAX_ROUNDINGS = 4
"""The same in the half formats, in units of their precision: one product in another order moves a logit by more."""


@dataclass(frozen=True)
class Metadata:
    """The metadata of a row.

    `layout` maps the whole row, the readout's segments last; `base` has name, family and weights; `run` is a run's
    fingerprint; `readout` has its kind and settings; `labels` are the user's own; `arrays` the rest of the state.
    """

    layout: Layout
    base: Mapping[str, str]
    run: str | None = None
    readout: Settings | None = None
    labels: tuple[str, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    `files` are bytes by file name; `difference` is the largest one between the tool's logits and ours, `scale` the
    largest logit; `left_out` names what the format can't hold.
    """

    to: str
    folder: Path
    files: Mapping[str, int]
    difference: float = 0.0
    scale: float = 0.0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """The result of an import: the adapter's settings, its row (P,), and its metadata."""

    adapter: Settings
    row: np.ndarray
    metadata: Metadata


def metadata_of(adapted: AdaptedBase) -> Metadata:
    """The metadata of a row of the adapter alone."""
    base = adapted.base
    return Metadata(adapted.layout, {"name": base.name, "family": base.family, "weights": base.weights})


def layout_of(base: BaseModel, adapter: Adapter) -> Layout:
    """The layout of an adapter's own numbers on a base; raises ModelError where its sites are not there."""
    return Layout(segment for site in adapter.choose(base.sites) for segment in adapter.segments(site))


def adapter_values(layout: Layout, row: np.ndarray, metadata: Metadata) -> np.ndarray:
    """The adapter's numbers, mapped by `layout`, of a row; raises ExportError where the row is of another adapter."""
    beginning = Layout(metadata.layout.segments[: len(layout.segments)])  # of which a learner may share some
    if row.shape != (metadata.layout.size,) or beginning.fingerprint != layout.fingerprint:
        raise ExportError(
            f"a row of {row.size} numbers does not fit this adapter of {layout.size}; "
            "take the base and the run that it was adapted with"
        )
    if not np.isfinite(row).all():
        raise ExportError("the row holds numbers that are not finite; roll back with: melpa users rollback")
    return np.asarray(row[: layout.size], np.float32)


def lora_of(adapted: AdaptedBase, tool: str) -> Lora:
    """The adapter, if it is LoRA on a base that lies in a folder; raises ExportError otherwise."""
    if not isinstance(adapted.adapter, Lora):
        raise ExportError(f"{tool} has no place for a {adapted.adapter.kind} adapter; write it with: --to melpa")
    if adapted.base.folder is None:
        raise ExportError(f"base '{adapted.base.name}' has no folder that {tool} could load; write it with: --to melpa")
    return adapted.adapter


def block_names(base: BaseModel) -> list[str]:
    """The path of each block in the model, as in "model.layers.0"."""
    paths = {id(module): path for path, module in base.model.named_modules()}
    return [paths[id(block)] for block in base.blocks]


def left_out(adapted: AdaptedBase, metadata: Metadata) -> tuple[str, ...]:
    """The names of what belongs to a user and is no weight of the adapter."""
    beyond = metadata.layout.segments[len(adapted.layout.segments) :]
    return (*(segment.name for segment in beyond), *metadata.arrays)


def check_weights(tool: str, written: Mapping[str, np.ndarray], taken: Mapping[str, np.ndarray]) -> None:
    """Raises ExportError unless a tool took every weight that was written."""
    lost = [name for name, w in written.items() if name not in taken or not np.array_equal(taken[name], w)]
    if lost:
        raise ExportError(
            f"{tool} did not take {len(lost)} of {len(written)} weights, the first is {lost[0]}; use --to melpa"
        )


def check_logits(
    tool: str,
    adapted: AdaptedBase,
    values: np.ndarray,
    theirs: Callable[[Array, Array], Array],
    ops: Engine,
    precision: float,
) -> tuple[float, float]:
    """The largest difference between a tool's logits and ours, and our largest logit, over TEXTS.

    `theirs` gives the tool's logits (N, V) of tokens (1, L) at positions (N,), and `precision` is their relative
    precision. Raises ExportError where they differ, and where the adapter changes nothing.
    """
    rows, difference, scale, change = ops.array(values[None]), 0.0, 0.0, 0.0
    for text in TEXTS:
        ids = adapted.base.tokenizer.encode(text)
        tokens, index = ops.array(np.array([ids])), ops.array(np.arange(len(ids)))
        found = adapted.logits(rows, tokens, index), adapted.logits(0 * rows, tokens, index), theirs(tokens, index)
        ours, plain, tools = (ops.numpy(logits) for logits in found)
        difference = max(difference, float(np.abs(tools - ours).max()))
        scale, change = max(scale, float(np.abs(ours).max())), max(change, float(np.abs(ours - plain).max()))
    if change == 0:
        raise ExportError(
            "this adapter changes no logit of its base, so there is nothing to export; adapt with more steps"
        )
    if not difference <= max(MAX_DIFFERENCE, MAX_ROUNDINGS * precision) * scale:
        raise ExportError(
            f"{tool}'s logits differ from ours by {difference:.3g} of {scale:.3g}, so nothing was written; "
            "use --to melpa"
        )
    return difference, scale


@contextmanager
def new_folder(out: Path, names: Collection[str]) -> Iterator[Path]:
    """Lends a temporary folder that takes the place of `out` when the block ends well, and vanishes when it fails.

    An earlier export with files of these names only is replaced; anything else there raises ExportError.
    """
    foreign = sorted(p.name for p in out.iterdir() if p.name not in names) if out.is_dir() else []
    if foreign or (out.exists() and not out.is_dir()):
        raise ExportError(
            f"{out} is there already and holds {foreign[0] if foreign else 'a file'}; name another folder"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        around = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise ExportError(f"can't write to {out.parent}: {error.strerror}; name another folder") from error
    try:
        draft = around / "new"
        draft.mkdir()
        yield draft
        if out.exists():
            out.rename(around / "old")
        draft.rename(out)
    finally:
        shutil.rmtree(around, ignore_errors=True)


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of a folder's files, by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
