"""What the store gives and takes: a version of one user's adapter, its bytes, and the ids of users."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load, save

from ..core.layout import Layout
from ..errors import StoreError


@dataclass(frozen=True, eq=False)
class Version:
    """One version of one user's adapter.

    `state` holds the named arrays of one adaptation, the row under "rows", what the regularizer carries to the next
    under "carry.NAME"; `labels` are the user's own, in the order of the state's class means;
    `metrics` numbers for people ("steps", "loss_before", "loss_after", "seconds"); `about` describes the user; `run`
    is the fingerprint of the run whose decoder and rule the state needs, None for an import. The fields from `user` on
    are the store's: `source` is the version whose state a rollback brought back, `nbytes` the bytes of the state.
    """

    state: Mapping[str, np.ndarray]
    layout: Layout
    base_family: str
    base_name: str
    base_weights: str
    run: str | None = None
    kind: Literal["adapt", "import", "rollback"] = "adapt"
    examples: int = 0
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    user: str = ""
    number: int = 0
    parent: int | None = None
    source: int | None = None
    made: float = 0.0
    nbytes: int = 0
    active: bool = False


@dataclass(frozen=True)
class Summary:
    """What the store holds of one user: `kept` examples, `nbytes` of these and all versions; the active one's base."""

    user: str
    created: float
    updated: float | None
    versions: int
    active: int | None
    kept: int
    nbytes: int
    base_name: str | None
    run: str | None


@dataclass(frozen=True)
class Run:
    """A meta-training run that people can be adapted with."""

    name: str
    path: Path
    fingerprint: str
    base_family: str
    made: float


def check_id(user: str) -> str:
    """Gives an id in the form it is stored under, NFC without spaces around it; StoreError when it can't be one."""
    for mark in user:
        if unicodedata.category(mark) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            raise StoreError(f"user id {user!a} holds the control character U+{ord(mark):04X}; leave it out")
    name = unicodedata.normalize("NFC", user).strip()
    if not 1 <= len(name) <= 128:
        raise StoreError(f"user id {name[:20]!r} has {len(name)} characters; choose one of 1 to 128")
    return name


def pack(state: Mapping[str, np.ndarray], half: bool = True) -> bytes:
    """Writes named arrays as safetensors; the row and what is carried as fp16 when `half` and it fits, else as fp32."""
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    for name in filter(_rounded, state):
        numbers = arrays[name].astype(np.float32)
        if not np.isfinite(numbers).all():
            raise StoreError("the adapted row holds numbers that are not finite; adapt again with a lower lr")
        fits = half and np.abs(numbers).max(initial=0) <= np.finfo(np.float16).max
        arrays[name] = numbers.astype(np.float16) if fits else numbers
    return save(arrays)


def unpack(blob: bytes) -> dict[str, np.ndarray]:
    """Reads what `pack` wrote; what it rounded comes back as float32, holding the stored numbers."""
    return {name: array.astype(np.float32) if _rounded(name) else array for name, array in load(blob).items()}


def _rounded(name: str) -> bool:
    return name == "rows" or name.startswith("carry.")
