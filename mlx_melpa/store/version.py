"""What the store holds: versions of a user's adapter with their state and origin, and records of runs."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import load, save

from ..core.layout import Layout
from ..errors import StoreError

REGULARIZER = "carry."
"""Prefix of the regularizer's arrays on disk."""
NOT_FINITE = "the adapted row holds numbers that are not finite; adapt again with fewer --steps"


@dataclass(frozen=True, eq=False)
class UserState:
    """The arrays that one adaptation of one user leaves.

    rows (1, P): the user's own numbers. means (N, d), fp16, and counts (N,): the class means of all learned examples
    in the order of the version's labels, None for a readout without class means. learned (n,) uint64: hashes of the
    learned examples. regularizer: the regularizer's state for the next task, by name. shared (1, S): shared numbers
    that came with an import, None where they are the run's.
    """

    rows: np.ndarray
    means: np.ndarray | None = None
    counts: np.ndarray | None = None
    learned: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    regularizer: Mapping[str, np.ndarray] = field(default_factory=dict)
    shared: np.ndarray | None = None

    @property
    def class_means(self) -> dict[str, np.ndarray]:
        """The class means and their counts by name, {} where there are none."""
        return {} if self.means is None or self.counts is None else {"means": self.means, "counts": self.counts}

    @property
    def finite(self) -> bool:
        """True if every number of the row is finite."""
        return bool(np.isfinite(self.rows).all())

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by their names on disk."""
        learned = {"learned": self.learned} if self.learned.size else {}
        regularizer = {REGULARIZER + name: array for name, array in self.regularizer.items()}
        rows = {"rows": self.rows} if self.rows.size else {}
        shared = {} if self.shared is None else {"shared": self.shared}
        return {**rows, **self.class_means, **learned, **regularizer, **shared}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "UserState":
        """The inverse of `arrays`."""
        known = {name: arrays[name] for name in ("means", "counts", "learned", "shared") if name in arrays}
        rows = arrays.get("rows", np.zeros((1, 0), np.float32))
        regularizer = {n.removeprefix(REGULARIZER): a for n, a in arrays.items() if n.startswith(REGULARIZER)}
        return cls(rows, **known, regularizer=regularizer)


NO_STATE = UserState(np.zeros((0, 0), np.float32))
"""The state of versions that are listed only."""


@dataclass(frozen=True)
class Origin:
    """What is needed to load a version again, beside its run.

    engine: mlx or torch. form: labels, messages, prompts or lines, as the examples were. adapter, readout: the recipe's
    settings, for a version without a run.
    """

    engine: str | None = None
    adapter: Mapping[str, object] | None = None
    readout: Mapping[str, object] | None = None
    form: str | None = None


@dataclass(frozen=True)
class BitsPerByte:
    """Bits per byte of general text, of the base and of the version; None where not measured."""

    base: float | None = None
    version: float | None = None


NOT_MEASURED = BitsPerByte()


@dataclass(frozen=True, eq=False)
class Version:
    """One version of one user's adapter.

    `labels` are the user's, in the order of the state's class means. `run` is the fingerprint of the run that adapted
    it, None without one. `metrics` are numbers to show ("steps", "loss_before", "loss_after", "seconds").
    `description` describes the user. `job` names the `melpa adapt-all` that made it. The fields from `user` on are set
    by the store: `source` is the version whose state a rollback restored, `nbytes` the bytes of the state.
    """

    state: UserState
    layout: Layout
    base_family: str
    base_name: str
    base_weights: str
    run: str | None = None
    kind: Literal["adapt", "import", "rollback"] = "adapt"
    examples: int = 0
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    description: str = ""
    origin: Origin = Origin()
    bits_per_byte: BitsPerByte = NOT_MEASURED
    job: str = ""
    user: str = ""
    number: int = 0
    parent: int | None = None
    source: int | None = None
    made: float = 0.0
    nbytes: int = 0
    active: bool = False

    @property
    def base(self) -> dict[str, str]:
        """The identity of the base model: name, family and weights."""
        return {"name": self.base_name, "family": self.base_family, "weights": self.base_weights}

    @property
    def parameters(self) -> int:
        """How many numbers of the row are the user's own."""
        return self.layout.size


@dataclass(frozen=True)
class Summary:
    """One user in the store: `kept` stored examples, `nbytes` of these and all versions; the active version's base."""

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
class RunRecord:
    """Where a meta-training run lies, and for which base it is."""

    name: str
    path: Path
    fingerprint: str
    base_family: str
    made: float


def check_id(user: str) -> str:
    """Returns a user id as it is stored: NFC, without spaces around it. Raises StoreError for an invalid one."""
    for mark in user:
        if unicodedata.category(mark) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            raise StoreError(f"user id {user!a} holds the control character U+{ord(mark):04X}; leave it out")
    name = unicodedata.normalize("NFC", user).strip()
    if not 1 <= len(name) <= 128:
        raise StoreError(f"user id {name[:20]!r} has {len(name)} characters; choose one of 1 to 128")
    return name


def pack(state: UserState, half: bool = True) -> bytes:
    """Writes a state as safetensors; the row and the regularizer's arrays as fp16 if `half` and they fit, else fp32."""
    if not state.finite or not all(np.isfinite(array).all() for array in state.regularizer.values()):
        raise StoreError(NOT_FINITE)
    arrays = {name: np.ascontiguousarray(array) for name, array in state.arrays().items()}
    return save(arrays | {name: _compact(arrays[name], half) for name in filter(_is_rounded, arrays)})


def unpack(blob: bytes) -> UserState:
    """Reads what `pack` wrote; rounded arrays come back as float32 with the stored values."""
    arrays = {name: array.astype(np.float32) if _is_rounded(name) else array for name, array in load(blob).items()}
    return UserState.from_arrays(arrays)


def rounded(row: np.ndarray) -> np.ndarray:
    """The float32 values that a row has once it was stored."""
    return _compact(row).astype(np.float32)


def _compact(array: np.ndarray, half: bool = True) -> np.ndarray:
    numbers = array.astype(np.float32)
    fits = half and np.abs(numbers).max(initial=0) <= np.finfo(np.float16).max
    return numbers.astype(np.float16) if fits else numbers


def _is_rounded(name: str) -> bool:
    return name in ("rows", "shared") or name.startswith(REGULARIZER)
