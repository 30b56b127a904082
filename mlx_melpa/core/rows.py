"""From rows to the weights in use: a user's own numbers, or the code for them, beside what all users share."""

from copy import copy
from typing import Self

import numpy as np

from .decoder import Decoder
from .engine import Engine
from .layout import Layout, Segment
from .types import Array, Tree, Weights


class RowProblem:
    """The common base of problems: the layouts of all weights and of a row, and the mapping between them.

    theta["problem"] is {"shared": (S,)} where the layout has shared weights, with a decoder's parameters where rows are
    codes.
    """

    def __init__(self, ops: Engine, acting_layout: Layout):
        self.ops = ops
        self.decoder: Decoder | None = None
        self._lay_out(acting_layout)

    def _lay_out(self, acting_layout: Layout) -> None:
        self.acting_layout, self._own = acting_layout, acting_layout.personal
        self._shared = acting_layout.shared
        self.layout = Layout([Segment("code", (self.decoder.size,))]) if self.decoder else self._own

    def with_layout(self, acting_layout: Layout) -> Self:
        """The same problem with other weights marked as shared."""
        other = copy(self)
        other._lay_out(acting_layout)
        return other

    def with_decoder(self, decoder: Decoder | None) -> Self:
        """The same problem with rows that are codes."""
        other = copy(self)
        other.decoder = decoder
        other._lay_out(self.acting_layout)
        return other

    def init(self, rng: np.random.Generator) -> tuple[np.ndarray, Tree]:
        """Draws a random start: a user's own numbers (own,), and theta["problem"]."""
        row, rest = self.acting_layout.divide(self.acting_layout.draw(rng))
        shared = {"shared": self.ops.array(rest)} if rest.size else {}
        return row, shared | (self.decoder.init(rng, row) if self.decoder else {})

    def identity(self) -> tuple[Array, Tree]:
        """A row (1, P) and theta["problem"] of a random start: LoRA and its like leave the base as it is."""
        row, shared = self.init(np.random.default_rng(0))
        return self.ops.zeros((1, self.layout.size)) if self.decoder else self.ops.array(row[None]), shared

    def weights(self, rows: Array, shared: Tree) -> Weights:
        """Named weights of rows (T, P): a user's own (T, *shape), and the shared ones (1, *shape)."""
        own = self.decoder.decode(shared, rows) if self.decoder else rows
        found = self._own.weights(self.ops, own)
        if "shared" in shared:
            found |= self._shared.weights(self.ops, shared["shared"].reshape(1, -1))
        return found

    def acting(self, rows: Array, shared: Tree) -> Array:
        """All weights in use (T, size of acting_layout)."""
        found, tasks = self.weights(rows, shared), rows.shape[0]
        pieces = [
            self.ops.broadcast(found[s.name].reshape(-1, s.size), (tasks, s.size)) for s in self.acting_layout.segments
        ]
        acting: Array = self.ops.concatenate(pieces, 1)
        return acting

    def identity_weights(self) -> Weights:
        """Named weights (1, *shape) of a random start, under which LoRA and its like leave the base as it is."""
        return self.weights(*self.identity())
