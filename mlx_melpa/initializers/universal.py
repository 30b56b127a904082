"""One learned start for every task: MAML's initialization."""

from typing import Any

import numpy as np

from ..core.layout import Layout
from ..core.types import Array, Batch, Tree


class Universal:
    """Rows all equal to one learned vector `start` (P,)."""

    code = 0

    def __init__(self, ops: Any):
        self.ops = ops

    def init(self, rng: np.random.Generator, layout: Layout) -> Tree:
        """Draws the adapter's random start, where the adapted model equals the base."""
        return self.at(layout.draw(rng))

    def at(self, row: np.ndarray) -> Tree:
        """The parameters that make the row (P,)."""
        return {"start": self.ops.array(row)}

    def make(self, meta: Tree, support: Batch, tasks: int) -> Array:
        """Repeats the start for each task: (T, P)."""
        return self.alike(meta, tasks)

    def alike(self, meta: Tree, tasks: int) -> Array:
        """The start as rows (T, P)."""
        return self.ops.broadcast(meta["start"].reshape(1, -1), (tasks, meta["start"].shape[0]))


def universal(ops: Any, problem: Any = None) -> Universal:
    """Builds the universal initializer (Finn et al. 2017).

    Use it when nothing speaks against it: others gained nothing on simulated people (docs/results.md).
    Not when people differ so much that no one start suits them: try `hypernetwork`.
    """
    return Universal(ops)
