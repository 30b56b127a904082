"""O-LoRA: each task trains its own LoRA block, orthogonal to the blocks of earlier tasks."""

from dataclasses import replace
from functools import cache

import numpy as np

from ....core.engine import Engine
from ....core.layout import Layout
from ....core.protocols import Components, Drift
from ....core.types import Array, Tree
from ....errors import RecipeError
from ....regularizers.none import NoRegularizer
from .method import Initialization, Method, State


class Orthogonal(NoRegularizer):
    """strength sum_sites sum_{i<t} |A_i' A_t|^2 over blocks of `rank` columns of each A (d, R), the current one t."""

    def __init__(self, ops: Engine, layout: Layout, rank: int, block: int, strength: float):
        super().__init__(ops)
        self.layout, self.rank, self.block, self.strength = layout, rank, block, strength

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """The penalty (T,)."""
        ops, at = self.ops, self.block * self.rank
        total = ops.zeros((rows.shape[0],))
        parts = ops.split(rows, self.layout.offsets[1:-1], 1)
        for segment, part in zip(self.layout.segments, parts, strict=True):
            if segment.name.endswith(".lora_a") and at:
                a = part.reshape(-1, *segment.shape)
                products = ops.swap(a[:, :, :at]) @ a[:, :, at : at + self.rank]
                total = total + (products * products).sum((1, 2))
        return self.strength * total


class OLora(Method):
    """Task t trains A_t, B_t of W + sum_{i<=t} A_i B_i on L_t + strength sum_{i<t} |A_i' A_t|^2, the earlier fixed.

    Wang et al. 2023 (strength 0.5). The row is of rank r T: block t, columns t r .. (t + 1) r of every A and the same
    rows of every B, is task t's LoRA of rank r. Steps on task t change this block and the readout's numbers alone. B of
    a later block is 0, so that it adds nothing yet. All blocks are used at test, as in the paper.
    """

    block_per_task = True
    strength: float = 0.5

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int, strength: float | None = None):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
        recipe = start.setup.recipe
        kind, settings = recipe.kind("adapter"), recipe.settings("adapter")
        if kind != "lora" or settings["rank"] % tasks:
            raise RecipeError(f"o_lora needs adapter: lora with a rank for each of {tasks} tasks, found '{kind}'")
        self.rank: int = settings["rank"] // tasks

    def components(self, state: State) -> Components:
        """The components with the penalty of the next block."""
        penalty = Orthogonal(self.ops, self.start.layout, self.rank, len(state.labels), self.strength)
        return replace(self.start.parts, regularizer=penalty)

    def project_gradient(self, state: State, grads: Array) -> Array:
        """The gradient of the next block and of the readout."""
        return grads * self.mask(len(state.labels))

    @cache  # noqa: B019 (as many as there are tasks)
    def mask(self, block: int) -> Array:
        """1 for the numbers (own,) of a row that belong to a block or to no LoRA factor, else 0."""
        columns = slice(block * self.rank, (block + 1) * self.rank)
        masks = []
        for segment in self.start.layout.segments:
            one = np.ones(segment.shape, np.float32)
            if segment.name.endswith((".lora_a", ".lora_b")):
                one = np.zeros(segment.shape, np.float32)
                one[(slice(None), columns) if segment.name.endswith("a") else columns] = 1
            masks.append(one.reshape(-1))
        return self.ops.array(np.concatenate(masks))
