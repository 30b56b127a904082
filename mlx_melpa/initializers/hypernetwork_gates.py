"""Gates of a hypernetwork: a learned scale for each site, and a mask of LoRA's ranks for each task."""

import numpy as np

from ..core.engine import Engine
from ..core.layout import Layout
from ..core.types import Array, Tree
from .task_encoder import Shapes


class Scales:
    """One learned number for each site, 1 at first, times all that is written there."""

    def __init__(self, ops: Engine, layout: Layout):
        names = [segment.name.rpartition(".")[0] for segment in layout.segments]
        sites = list(dict.fromkeys(names))
        self.ops, self.places = ops, [sites.index(name) for name in names]
        self.shapes: Shapes = {"scale": (len(sites),)}

    def init(self) -> Tree:
        """The numbers at which they begin."""
        return {"scale": self.ops.ones(self.shapes["scale"])}

    def apply(self, meta: Tree, pieces: list[Array]) -> list[Array]:
        """The pieces (T, size) of the layout's weights, each times the number of its site."""
        scales = self.ops.split(meta["scale"], list(range(1, *self.shapes["scale"])), 0)
        return [scales[place] * piece for place, piece in zip(self.places, pieces, strict=True)]


class Ranks:
    """A mask predicted from a task's embedding e (T, e): one number for each rank at each site of LoRA.

    lora_b <- diag(m) lora_b,   m = sigmoid(e enter + bias)
    enter begins at 0 and the bias at 4, so that m is 0.98.
    """

    def __init__(self, ops: Engine, layout: Layout, embedding: int):
        self.ops, self.layout = ops, layout
        masked = [s.name.endswith(".lora_b") for s in layout.segments]
        self.sizes = [s.shape[0] if mine else 0 for s, mine in zip(layout.segments, masked, strict=True)]
        self.shapes: Shapes = {"enter": (embedding, sum(self.sizes)), "bias": (sum(self.sizes),)}

    def init(self) -> Tree:
        """The numbers at which they begin."""
        return {"enter": self.ops.zeros(self.shapes["enter"]), "bias": 4 * self.ops.ones(self.shapes["bias"])}

    def apply(self, meta: Tree, embedding: Array, known: Array, rows: Array) -> Array:
        """The rows (T, P) with the rows of each B masked; `known` (T, 1) is 0 for tasks that are left as they are."""
        ops, tasks = self.ops, rows.shape[0]
        out = 0.5 - 0.5 * ops.tanh(0.5 * (embedding @ meta["enter"] + meta["bias"]))  # 1 - sigmoid
        ends = np.cumsum([size for size in self.sizes if size])[:-1]
        left = iter(ops.split(1 - known * out, [int(end) for end in ends], 1))
        pieces = ops.split(rows, self.layout.offsets[1:-1], 1)
        for i, size in enumerate(self.sizes):
            if size:
                b = pieces[i].reshape(tasks, size, -1) * next(left).reshape(tasks, size, 1)
                pieces[i] = b.reshape(tasks, -1)
        masked: Array = ops.concatenate(pieces, 1)
        return masked
