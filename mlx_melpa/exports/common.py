"""What exports share: what goes with a row, what was written, what was read, and folders that appear whole."""

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.layout import Layout
from ..errors import ExportError

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Dear all,\nthank you for the 12 notes from Monday. Best wishes",
    '{"name": "value", "list": [1, 2, 3]}',
)
MOST = 1e-3
"""The largest difference of two logits that is allowed, as a share of the largest logit, in float32."""
ROUNDINGS = 4
"""The same in the half formats, in units of their precision: one product in another order moves a logit by more."""


@dataclass(frozen=True)
class Meta:
    """What goes with a row.

    `layout` maps the whole row, the readout's segments last; `base` has name, family and weights; `run` is a run's
    fingerprint; `readout` has its kind and settings; `labels` are the user's own; `arrays` the rest of the state.
    """

    layout: Layout
    base: Mapping[str, str]
    run: str | None = None
    readout: Mapping[str, Any] | None = None
    labels: tuple[str, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What an export wrote: bytes by file name; `difference` is the largest one between its logits and ours, `scale`
    the largest logit; `left_out` names what the format can't hold."""

    to: str
    folder: Path
    files: Mapping[str, int]
    difference: float = 0.0
    scale: float = 0.0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What an import read: the adapter's settings, its row (P,), and what else the files tell."""

    adapter: Mapping[str, Any]
    row: np.ndarray
    meta: Meta


def meta_of(adapted: Any) -> Meta:
    """What is known of a row of the adapter alone."""
    base = adapted.base
    return Meta(adapted.layout, {"name": base.name, "family": base.family, "weights": base.weights})


def layout_of(base: Any, adapter: Any) -> Layout:
    """The layout of an adapter's own numbers on a base; raises ModelError where its sites are not there."""
    return Layout(segment for site in adapter.choose(base.sites) for segment in adapter.segments(site))


def adapter_row(own: Layout, row: np.ndarray, meta: Meta) -> np.ndarray:
    """The numbers of layout `own` in a row; raises ExportError where the row is not one of this adapter."""
    beginning = Layout(meta.layout.segments[: len(own.segments)])  # of which a learner may share some
    if row.shape != (meta.layout.size,) or beginning.fingerprint != own.fingerprint:
        raise ExportError(
            f"a row of {row.size} numbers does not fit this adapter of {own.size}; "
            "take the base and the run that it was adapted with"
        )
    if not np.isfinite(row).all():
        raise ExportError("the row holds numbers that are not finite; roll back with: melpa users rollback")
    return np.asarray(row[: own.size], np.float32)


@contextmanager
def whole(out: Path, names: Collection[str]) -> Iterator[Path]:
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


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of a folder's files, by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
