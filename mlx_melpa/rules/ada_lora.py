"""AdaLoRA's allocation of ranks, simplified: Adam, with a falling total of LoRA's ranks that act."""

from itertools import pairwise
from math import ceil
from typing import Annotated

from ..core.bounds import Bounds, Count, Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Rule
from ..core.types import Array, Tree
from ..errors import RecipeError
from .adam import Adam

Share = Annotated[float, Bounds(0.01, 1)]


class AdaLora(Rule):
    """After each of Adam's steps only the b(n) most important ranks of all sites together keep their row of B.

    A rank's importance is mean |w g| over its column of A plus that over its row of B, smoothed over steps. b(n) is all
    `ranks` during the warm-up, falls by a cube over `decay` steps and stays. A rank that was cut is still updated, and
    returns when it is more important than another. Numbers outside LoRA, such as a head's, are updated as in Adam.
    """

    verify_with = ({"lr": 0.02, "eps": 1e-2, "warmup": 1, "decay": 1},)

    def __init__(self, ops: Engine, layout: Layout, rule: Adam, keep: float, warmup: int, decay: int, smooth: float):
        self.ops, self.layout, self.rule = ops, layout, rule
        self.warmup, self.decay, self.smooth = warmup, decay, smooth
        self._pairs = [i for i, (a, b) in enumerate(pairwise(layout.segments)) if _are_factors(a.name, b.name)]
        self._sizes = [layout.segments[i].shape[1] for i in self._pairs]
        self.ranks = sum(self._sizes)
        self.kept = ceil(keep * self.ranks)

    def begin(self, rows: Array) -> Tree:
        """Adam's memory, the importance of each rank (T, R), and the count of steps (T, 1)."""
        tasks, ops = rows.shape[0], self.ops
        return {
            "adam": self.rule.begin(rows),
            "importance": ops.zeros((tasks, self.ranks)),
            "count": ops.zeros((tasks, 1)),
        }

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """One step for rows and gradients (T, P)."""
        rows, moments = self.rule.step(meta, k, rows, grads, memory["adam"])
        importance = self.smooth * memory["importance"] + (1 - self.smooth) * self._importance(rows, grads)
        count = memory["count"] + 1
        rows = self._cut(rows, self._acts(importance, count))
        return rows, {"adam": moments, "importance": importance, "count": count}

    def _pieces(self, rows: Array) -> list[Array]:
        pieces: list[Array] = self.ops.split(rows, self.layout.offsets[1:-1], 1)
        return pieces

    def _importance(self, rows: Array, grads: Array) -> Array:
        pieces = self._pieces((rows * grads).abs())
        found = []
        for i, rank in zip(self._pairs, self._sizes, strict=True):
            a, b = pieces[i].reshape(rows.shape[0], -1, rank), pieces[i + 1].reshape(rows.shape[0], rank, -1)
            found.append(a.mean(1) + b.mean(2))
        return self.ops.concatenate(found, 1)

    def _acts(self, importance: Array, count: Array) -> Array:
        """1 for each rank (T, R) with fewer than b(n) more important ones, else 0."""
        ops, tasks = self.ops, importance.shape[0]
        left = (self.warmup + self.decay - count) / self.decay
        left = ops.where(left > 1, ops.ones(left.shape), ops.where(left > 0, left, ops.zeros(left.shape)))
        most = self.kept + (self.ranks - self.kept) * left * left * left
        over = importance.reshape(tasks, 1, -1) > importance.reshape(tasks, -1, 1)
        above = ops.where(over, 1.0, 0.0).sum(2)
        return ops.where(above < most, 1.0, 0.0)

    def _cut(self, rows: Array, acts: Array) -> Array:
        ops, pieces = self.ops, self._pieces(rows)
        ends = [sum(self._sizes[: n + 1]) for n in range(len(self._sizes) - 1)]
        for i, rank, own in zip(self._pairs, self._sizes, ops.split(acts, ends, 1), strict=True):
            b = pieces[i + 1].reshape(rows.shape[0], rank, -1) * own.reshape(rows.shape[0], rank, 1)
            pieces[i + 1] = b.reshape(pieces[i + 1].shape)
        return ops.concatenate(pieces, 1)


def _are_factors(first: str, second: str) -> bool:
    return (first[-7:], second) == (".lora_a", f"{first[:-1]}b")


def ada_lora(
    ops: Engine,
    layout: Layout,
    *,
    lr: Positive = 1e-3,
    keep: Share = 0.5,
    warmup: Count = 2,
    decay: Count = 8,
    smooth: Annotated[float, Bounds(0, 0.999)] = 0.85,
    eps: Positive = 1e-8,
) -> AdaLora:
    """Builds AdaLoRA's allotment (Zhang et al. 2023) over LoRA as it is: the share `keep` of all ranks acts at the end.

    Left out of the paper: singular values of their own beside the factors, the pull of these to orthogonality, and the
    uncertainty in the importance.

    Use it when a fixed number of ranks should go where they matter, over ten steps or more.
    Not when steps are few. Raises RecipeError where a row has no ranks of LoRA.

    lr: Adam's rate.
    keep: the share of all ranks that acts at the end.
    warmup: steps in which all ranks act.
    decay: steps in which the number of acting ranks falls to that share, by a cube.
    smooth: how much of the earlier importance each step leaves.
    eps: as in `adam`.
    """
    made = AdaLora(ops, layout, Adam(ops, lr, 0.9, 0.999, eps), keep, warmup, decay, smooth)
    if not made.ranks:
        raise RecipeError(
            "rule ada_lora allots LoRA's ranks, and a row has none here; set adapter: lora, or rule: adam"
        )
    return made
