"""Measures along the inner steps on fixed episodes, their intervals, and the harm done to single tasks."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..core import inner_loop
from ..core.microbatches import chunks
from ..core.protocols import Components, Problem
from ..core.types import Batch, Episode, State, Tasks, Tree
from .timing import Stopwatch

Measures = dict[str, np.ndarray]
"""Per measure (loss, accuracy, f1, bits_per_byte ...) the values (E,) of E episodes."""
Curves = dict[str, np.ndarray]
"""The same after each of K numbers of steps, (K, E)."""
HIGHER = ("accuracy", "f1")
"""Measures of which more is better; of all others less is."""


def episodes(tasks: Tasks, count: int, seed: int) -> list[Any]:
    """Draws `count` episodes, the same for every caller with this seed."""
    return [tasks.episode(np.random.default_rng([seed, 1, i])) for i in range(count)]


class Measured(NamedTuple):
    """The measures of E episodes after each of `steps`, and the seconds of adaptation, measuring left out."""

    steps: tuple[int, ...]
    curves: Curves
    seconds: float = 0.0

    @property
    def last(self) -> Measures:
        """The measures (E,) after the last step."""
        return {name: values[-1] for name, values in self.curves.items()}

    def means(self, name: str) -> list[float]:
        """The means over episodes of a measure after each of the steps."""
        return [float(value) for value in self.curves[name].mean(1)]

    @property
    def episodes(self) -> int:
        """The number of episodes."""
        return len(next(iter(self.last.values())))


def joined(parts: Sequence[Measured]) -> Measured:
    """The measures of the episodes of all parts."""
    names = parts[0].curves
    curves = {name: np.concatenate([part.curves[name] for part in parts], axis=1) for name in names}
    return Measured(parts[0].steps, curves, sum(part.seconds for part in parts))


class TaskBatch:
    """Episodes that are adapted side by side, encoded on first use."""

    def __init__(self, problem: Problem, episodes: Sequence[Episode]):
        self.problem, self.episodes = problem, episodes

    @cached_property
    def encoded(self) -> tuple[Batch, Batch]:
        """The support and the query batch."""
        return self.problem.prepare(self.episodes)


def task_batches(problem: Problem, drawn: Sequence[Episode], size: int) -> Iterator[TaskBatch]:
    """The episodes in batches of at most `size`."""
    return (TaskBatch(problem, chunk) for chunk in chunks(drawn, size))


def along_steps(parts: Components, theta: Tree, batch: TaskBatch, steps: Sequence[int]) -> Measured:
    """Adapts to each task's support and measures its query after each of `steps`, in rising order.

    Temperatures stay those of the run, as in meta-training; a user's own are fitted in `personal`.
    """
    support, query = batch.encoded
    found: list[Mapping[str, np.ndarray]] = []
    watch = Stopwatch()

    def measure(k: int, state: State) -> None:
        if k in steps:
            parts.ops.evaluate(state["rows"])
            with watch.paused():
                found.append(parts.problem.measure(state["rows"], query, theta["problem"]))

    with watch:
        inner_loop.adapt(parts, theta, support, steps[-1], watch=measure)
    return Measured(tuple(steps), {name: np.stack([one[name] for one in found]) for name in found[0]}, watch.seconds)


def curves(
    parts: Components, theta: Tree, drawn: Sequence[Episode], steps: Sequence[int], tasks_per_pass: int = 4
) -> Measured:
    """Adapts to all episodes, `tasks_per_pass` side by side, and measures their queries after each of `steps`."""
    return joined([along_steps(parts, theta, b, steps) for b in task_batches(parts.problem, drawn, tasks_per_pass)])


def interval(values: np.ndarray) -> float:
    """Half the width of the 95% interval of the mean, normal approximation; 0 for one value."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def summary(measures: Measures, main: str) -> dict[str, float]:
    """Means of per-episode measures (E,), and the interval of the main one."""
    means = {name: float(values.mean()) for name, values in measures.items()}
    return {**means, "ci95": interval(measures[main])}


def harm(measures: Measures, base: Measures, main: str) -> dict[str, float]:
    """The share of tasks made worse than the base, and the mean of the worst 5%."""
    sign = 1 if main in HIGHER else -1
    values, before = sign * measures[main], sign * base[main]
    worst = np.sort(values)[: max(1, round(0.05 * len(values)))]
    return {"worse_than_base": float((values < before).mean()), "worst_5_percent": float(sign * worst.mean())}


def main_measure(names: Sequence[str]) -> str:
    """The measure that a comparison is about: accuracy, bits per byte, or the loss."""
    return next(name for name in ("accuracy", "bits_per_byte", "loss") if name in names)


def better(a: float, b: float, main: str) -> bool:
    """True if `a` is better than `b`."""
    return a > b if main in HIGHER else a < b
