"""A problem whose rows are made from codes: a row brings its own code along, and steps move that alone.

A row is [the P numbers that act | the code they were made from]. In its layout the P numbers are shared, so that no
step moves them and no version stores them; the initializer makes them anew wherever a code has moved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .layout import Layout, Segment
from .protocols import Initializer, Problem
from .types import Array, Batch, Example


class Coded:
    """A problem under rows (T, P + size); everything else is the problem's own."""

    def __init__(self, problem: Any, size: int):
        self.problem, self.size = problem, size
        segments = [replace(segment, shared=True) for segment in problem.layout.segments]
        self.layout = Layout([*segments, Segment("code", (size,))])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.problem, name)

    def _acting(self, rows: Array) -> Array:
        return rows[:, : self.problem.layout.size]

    def losses(self, rows: Array, batch: Batch) -> Array:
        """Per-task losses (T,)."""
        return self.problem.losses(self._acting(rows), batch)

    def entropies(self, rows: Array, batch: Batch) -> Array:
        """Per-task entropies (T,)."""
        return self.problem.entropies(self._acting(rows), batch)

    def predict(self, rows: Array, batch: Batch) -> Array:
        """Scores of the batch's examples."""
        return self.problem.predict(self._acting(rows), batch)

    def drift(self, rows: Array, before: Array, batch: Batch) -> Array:
        """How far the answers are (T,) from those of the rows before."""
        return self.problem.drift(self._acting(rows), self._acting(before), batch)

    def measure(self, rows: Array, batch: Batch) -> Mapping[str, np.ndarray]:
        """Per-task numbers for people, each (T,)."""
        found: Mapping[str, np.ndarray] = self.problem.measure(self._acting(rows), batch)
        return found

    def calibrated(self, rows: Array, support: Batch) -> Array:
        """The same rows: a code has no place for a temperature."""
        return rows

    def memory(self, rows: Array, support: Batch) -> Batch:
        """What a readout keeps of a support batch."""
        return self.problem.memory(self._acting(rows), support)

    def remember(
        self, rows: Array, examples: Sequence[Example], labels: tuple[str, ...], earlier: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """What a readout keeps of one person's examples."""
        kept: dict[str, np.ndarray] = self.problem.remember(self._acting(rows), examples, labels, earlier)
        return kept

    def answer(self, rows: Array, examples: Sequence[Example], labels: tuple[str, ...], memory: Batch) -> np.ndarray:
        """Probabilities (n, N) of one person's labels."""
        found: np.ndarray = self.problem.answer(self._acting(rows), examples, labels, memory)
        return found

    def prime(self, row: np.ndarray, episodes: Sequence[Any], size: int) -> np.ndarray:
        """A start (P + size,) with the problem's closed form in it."""
        acting, code = np.split(row, [self.problem.layout.size])
        return np.concatenate([self.problem.prime(acting, episodes, size), code])


def fitting(problem: Any, initializer: Initializer) -> Problem:
    """The problem as an initializer makes its rows: with codes, or as it is."""
    return Coded(problem, initializer.code) if initializer.code else problem


def plain(problem: Any) -> Any:
    """The problem under rows without codes."""
    return problem.problem if isinstance(problem, Coded) else problem
