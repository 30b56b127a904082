"""The layout of a row: which of its P numbers are which weight."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from .engine import Engine
from .types import Array


@dataclass(frozen=True)
class Segment:
    """One weight inside a row.

    `start` says how a random start draws it: a float `s` for uniform(-s, s), ("constant", value), or ("identity",
    value) for a multiple of the unit matrix. A `shared` weight is meta-learned and the same for everyone: it is no part
    of a row, but of theta["problem"]. An adapter's update is proportional to its `scaled` weights.
    """

    name: str
    shape: tuple[int, ...]
    start: float | tuple[str, float] = ("constant", 0.0)
    shared: bool = False
    scaled: bool = field(default=False, compare=False)  # not in stored layouts

    @property
    def size(self) -> int:
        """The count of numbers in this weight."""
        return prod(self.shape)

    @property
    def block(self) -> int | None:
        """The block of the base, or the layer of a network, that the name begins with; None for a readout's weight."""
        first = self.name.split(".")[0]
        return int(first) if first.isdigit() else None

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draws this weight's random start, flat, float32."""
        if isinstance(self.start, tuple) and self.start[0] == "identity":
            return (self.start[1] * np.eye(self.shape[0], dtype=np.float32)).reshape(-1)
        if isinstance(self.start, tuple):
            return np.full(self.size, self.start[1], np.float32)
        return rng.uniform(-self.start, self.start, self.size).astype(np.float32)


class Layout:
    """The order of the segments in a row of `size` = P numbers."""

    def __init__(self, segments: Iterable[Segment]):
        self.segments = tuple(segments)
        sizes = [s.size for s in self.segments]
        self.offsets = tuple(int(o) for o in np.cumsum([0, *sizes]))
        self.size = self.offsets[-1]
        self._own = np.repeat([not s.shared for s in self.segments], sizes).astype(bool)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draws a random start, shape (P,), float32."""
        return np.concatenate([s.draw(rng) for s in self.segments]) if self.segments else np.zeros(0, np.float32)

    def views(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Cuts one row (P,) into named weights."""
        if row.shape != (self.size,):
            raise ValueError(f"a row of this layout has shape ({self.size},), not {row.shape}")
        return {
            s.name: row[a:b].reshape(s.shape)
            for s, a, b in zip(self.segments, self.offsets[:-1], self.offsets[1:], strict=True)
        }

    def row(self, weights: dict[str, np.ndarray]) -> np.ndarray:
        """Joins named weights into one row (P,), the inverse of `views`."""
        for s in self.segments:
            if s.name not in weights or tuple(weights[s.name].shape) != s.shape:
                found = "is missing" if s.name not in weights else f"has shape {tuple(weights[s.name].shape)}"
                raise ValueError(f"weight '{s.name}' {found}, expected shape {s.shape}")
        return np.concatenate([np.asarray(weights[s.name], np.float32).reshape(-1) for s in self.segments])

    def sharing(self, blocks: Collection[int]) -> "Layout":
        """The same layout with the weights of some blocks shared."""
        return Layout(replace(s, shared=s.shared or s.block in blocks) for s in self.segments)

    @property
    def personal(self) -> "Layout":
        """The layout of a user's own numbers: the segments that are not shared."""
        return Layout(s for s in self.segments if not s.shared)

    @property
    def shared(self) -> "Layout":
        """The layout of the weights that all users share."""
        return Layout(s for s in self.segments if s.shared)

    def divide(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Divides numbers (..., P) into a user's own (..., own) and the shared ones (..., P - own)."""
        return row[..., self._own], row[..., ~self._own]

    def weights(self, ops: Engine, rows: Array) -> dict[str, Array]:
        """Cuts an engine's rows (T, P) into named weights (T, *shape), by one split."""
        pieces = ops.split(rows, self.offsets[1:-1], 1) if self.segments else []
        return {s.name: piece.reshape(-1, *s.shape) for s, piece in zip(self.segments, pieces, strict=True)}

    def to_json(self) -> str:
        """The layout as JSON text: what a stored row needs to be read."""
        return json.dumps([[s.name, list(s.shape), s.start, s.shared] for s in self.segments])

    @property
    def fingerprint(self) -> str:
        """16 hex digits over names, shapes and order."""
        named = json.dumps([[s.name, list(s.shape)] for s in self.segments])
        return hashlib.sha256(named.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, text: str) -> "Layout":
        """Reads what `to_json` wrote."""
        return cls(
            Segment(name, tuple(shape), tuple(start) if isinstance(start, list) else start, shared)
            for name, shape, start, shared in json.loads(text)
        )

    def __add__(self, other: "Layout") -> "Layout":
        return Layout((*self.segments, *other.segments))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.segments == other.segments

    def __hash__(self) -> int:
        return hash(self.segments)
