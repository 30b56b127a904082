"""O-LoRA: each task has low-rank columns of its own, orthogonal to those of earlier tasks."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from ....core.bounds import Positive
from ....core.layout import Layout
from ....core.protocols import Drift, Parts
from ....core.types import Array, Tree
from ....errors import RecipeError
from ....regularizers.none import NoRegularizer
from .method import Method, Start, State


class Orthogonal(NoRegularizer):
    """strength sum_sites sum_{i<t} |A_i' A_t|^2 over blocks of `rank` columns of each A (d, R); block t is now."""

    def __init__(self, ops: Any, layout: Layout, rank: int, block: int, strength: float):
        super().__init__(ops)
        self.layout, self.rank, self.block, self.strength = layout, rank, block, strength

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """The penalty (T,)."""
        ops, at, found = self.ops, self.block * self.rank, self.ops.zeros((rows.shape[0],))
        parts = ops.split(rows, self.layout.offsets[1:-1], 1)
        for segment, part in zip(self.layout.segments, parts, strict=True):
            if segment.name.endswith(".lora_a") and at:
                a = part.reshape(-1, *segment.shape)
                both = ops.swap(a[:, :, :at]) @ a[:, :, at : at + self.rank]
                found = found + (both * both).sum((1, 2))
        return self.strength * found


class OLora(Method):
    """Task t trains A_t, B_t of W + sum_{i<=t} A_i B_i on L_t + strength sum_{i<t} |A_i' A_t|^2, the earlier fixed.

    Wang et al. 2023 (strength 0.5). The row is of rank r T: block t, columns t r .. (t + 1) r of every A and the same
    rows of every B, is task t's LoRA of rank r, and its gradient alone is let through. A later block's B is 0, so that
    it adds nothing yet. The readout's own number moves with every task. All blocks act at test, as in the paper.
    """

    blocks = True
    strength: float = 0.5

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, strength: float):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
        recipe = start.composed.recipe
        kind, settings = recipe.kind("adapter"), recipe.settings("adapter")
        if kind != "lora" or settings["rank"] % tasks:
            raise RecipeError(f"o_lora needs adapter: lora with a rank for each of {tasks} tasks, found '{kind}'")
        self.rank: int = settings["rank"] // tasks

    def acting(self, state: State) -> Parts:
        """The parts with the penalty of the next block."""
        held = Orthogonal(self.ops, self.start.layout.personal, self.rank, len(state.labels), self.strength)
        return replace(self.start.parts, regularizer=held)

    def let_through(self, state: State, grads: Array) -> Array:
        """The gradient of the next block and of the readout."""
        return grads * self.mask(len(state.labels))

    @cache  # noqa: B019 (as many as there are tasks)
    def mask(self, block: int) -> Array:
        """1 for a row's own numbers (own,) that belong to a block or to no LoRA factor, else 0."""
        part = slice(block * self.rank, (block + 1) * self.rank)
        held = []
        for segment in self.start.layout.personal.segments:
            one = np.ones(segment.shape, np.float32)
            if segment.name.endswith((".lora_a", ".lora_b")):
                one = np.zeros(segment.shape, np.float32)
                one[(slice(None), part) if segment.name.endswith("a") else part] = 1
            held.append(one.reshape(-1))
        return self.ops.array(np.concatenate(held))


def o_lora(start: Start, *, steps: int, seed: int, tasks: int, strength: Positive = OLora.strength) -> OLora:
    """Builds O-LoRA with the `strength` of its penalty; the start's adapter has a rank for each task."""
    return OLora(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
