"""Regression by a small network whose weights are the row, as for MAML's sinusoid."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from ..core.bounds import Count
from ..core.engine import Engine
from ..core.layout import Layout, Segment
from ..core.protocols import Problem
from ..core.rows import RowProblem
from ..core.types import AnyEpisode, Array, Batch, Tree
from ..errors import RecipeError


class Regression(RowProblem, Problem):
    """x -> hidden layers with an activation -> y; mean squared error."""

    def __init__(self, ops: Engine, hidden: Sequence[int], activation: str):
        self._act = {"relu": ops.relu, "tanh": ops.tanh}[activation]
        sizes = [1, *hidden, 1]
        segments = []
        for i, (wide_in, wide_out) in enumerate(pairwise(sizes)):
            bound = wide_in**-0.5
            segments += [Segment(f"{i}.weight", (wide_in, wide_out), bound), Segment(f"{i}.bias", (wide_out,), bound)]
        super().__init__(ops, Layout(segments))
        self._encodes = False

    def encode(self, context: str = "support") -> int:
        """Adds a task encoder's inputs, the points (x, y), to support batches; returns their width."""
        if context != "support":
            raise RecipeError(
                f"initializer.context: {context}: curves are points without descriptions; set it to support"
            )
        self._encodes = True
        return 2

    def prepare(self, episodes: Sequence[AnyEpisode]) -> tuple[Batch, Batch]:
        """Stacks T episodes as (support, query)."""
        return self.support(episodes), self.query(episodes)

    def support(self, episodes: Sequence[AnyEpisode]) -> Batch:
        """The support sets of T episodes."""
        batch = self._stacked([e.x_support for e in episodes], [e.y_support for e in episodes])
        if self._encodes:
            points = self.ops.concatenate([batch["x"], batch["y"]], -1)
            batch |= {"context": points, "present": batch["weights"]}
        return batch

    def query(self, episodes: Sequence[AnyEpisode]) -> Batch:
        """The query sets of T episodes."""
        return self._stacked([e.x_query for e in episodes], [e.y_query for e in episodes])

    questions = query

    def memory(self, rows: Array, support: Batch, shared: Tree) -> Batch:
        """Nothing: predictions need the row alone."""
        return {}

    def _stacked(self, x: Sequence[np.ndarray], y: Sequence[np.ndarray]) -> Batch:
        """x, y (T, B, 1), weights (T, B)."""
        arrays = {"x": np.stack(x), "y": np.stack(y), "weights": np.ones((len(x), len(x[0])))}
        return {name: self.ops.array(value) for name, value in arrays.items()}

    def predict(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """The network's outputs (T, B, 1)."""
        weights, h = self.weights(rows, shared), batch["x"]
        last = len(weights) // 2 - 1
        for i in range(last + 1):
            bias = weights[f"{i}.bias"]
            h = h @ weights[f"{i}.weight"] + bias.reshape(-1, 1, bias.shape[-1])
            h = self._act(h) if i < last else h
        return h

    def losses(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Mean squared errors (T,)."""
        return self._squares(self.predict(rows, batch, shared) - batch["y"], batch)

    def drift(self, rows: Array, before: Array, batch: Batch, shared: Tree) -> Array:
        """Mean squared changes (T,) of the outputs."""
        return self._squares(self.predict(rows, batch, shared) - self.predict(before, batch, shared), batch)

    def _squares(self, away: Array, batch: Batch) -> Array:
        """Weighted means (T,) of squared numbers (T, B, 1)."""
        away = away.reshape(*batch["weights"].shape)
        return (away * away * batch["weights"]).sum(-1) / batch["weights"].sum(-1)

    def entropies(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """The losses: numbers have no entropy."""
        return self.losses(rows, batch, shared)

    def measure(self, rows: Array, batch: Batch, shared: Tree) -> Mapping[str, np.ndarray]:
        """Per task: loss."""
        return {"loss": self.ops.numpy(self.losses(rows, batch, shared))}


def regression(
    ops: Engine,
    *,
    hidden: list[Count] = [40, 40],  # noqa: B006
    activation: Literal["relu", "tanh"] = "relu",
) -> Regression:
    """Builds the problem with hidden layers of the given widths (Finn et al. 2017 use two of 40, with relu).

    Use it when learners and rules are to be checked without a language model, on tasks `sinusoid`.
    Not when a recipe has a model.

    hidden: widths of the hidden layers.
    activation: relu as in the paper, or tanh, which is smooth: finite differences hold there.
    """
    return Regression(ops, hidden, activation)
