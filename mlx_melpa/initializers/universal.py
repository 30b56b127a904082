"""One learned start for every task: MAML's initialization."""

import numpy as np

from ..core.engine import Engine
from ..core.protocols import Initializer, Problem
from ..core.types import Array, Batch, Tree


class Universal(Initializer):
    """Rows all equal to one learned vector `start` (P,)."""

    verify_with = ({},)

    def __init__(self, ops: Engine):
        self.ops = ops

    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """The parameters that begin from a row (P,): at a random start the adapted model equals the base."""
        return {"start": self.ops.array(row)}

    def make(self, theta: Tree, support: Batch, tasks: int) -> Array:
        """Repeats the start for each task: (T, P)."""
        start = theta["initializer"]["start"]
        return self.ops.broadcast(start.reshape(1, -1), (tasks, start.shape[0]))


def universal(ops: Engine, problem: Problem | None = None) -> Universal:
    """Builds the universal initializer (Finn et al. 2017).

    Use it when nothing speaks against it: others gained nothing on simulated people (docs/results.md).
    Not when people differ so much that no one start suits them: try `hypernetwork`.
    """
    return Universal(ops)
