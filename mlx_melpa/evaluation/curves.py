"""What adaptation is worth: curves over steps on fixed episodes, with intervals."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from ..core import inner_loop as adapt
from ..core.microbatches import chunks
from ..core.protocols import Parts
from ..core.types import Tasks, Tree

Curves = dict[str, np.ndarray]
"""Per measure (loss, accuracy, f1, bits_per_byte ...) an array (K + 1, E): after k steps, on episode e."""


def episodes(tasks: Tasks, count: int, seed: int) -> list[Any]:
    """Draws the same `count` episodes for everyone who gives this seed."""
    return [tasks.episode(np.random.default_rng([seed, 1, i])) for i in range(count)]


def curves(
    parts: Parts,
    theta: Tree,
    drawn: Sequence[Any],
    steps: int,
    *,
    at: Sequence[int] | None = None,
    tasks_per_pass: int = 4,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Curves, float]:
    """Adapts to each episode's support and measures its query after the steps `at` (default: every one).

    Returns the curves (rows in the order of `at`) and the seconds of adaptation per task, measuring left out.
    Temperatures stay the run's, as in meta-training; a person's own are fitted by `folds.begin`.
    """
    at = list(range(steps + 1)) if at is None else list(at)
    found: list[Curves] = []
    seconds = 0.0
    for chunk in chunks(drawn, tasks_per_pass):
        support, query = parts.problem.prepare(chunk)
        seen: list[Curves] = []
        began = perf_counter()
        paused = 0.0

        def watch(k: int, state: Tree, query: Any = query, seen: list[Curves] = seen) -> None:
            nonlocal paused
            if k in at:
                parts.ops.evaluate(state["rows"])
                stop = perf_counter()
                seen.append(dict(parts.problem.measure(state["rows"], query)))
                paused += perf_counter() - stop

        adapt.adapt(parts, theta, support, steps, watch=watch)
        seconds += perf_counter() - began - paused
        found.append({name: np.stack([s[name] for s in seen]) for name in seen[0]})
        advance(len(chunk))
    joined = {name: np.concatenate([f[name] for f in found], axis=1) for name in found[0]}
    return joined, seconds / max(1, len(drawn))


def interval(values: np.ndarray) -> float:
    """Half the width of the 95% interval of the mean, normal approximation; 0 for one value."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def summary(measures: dict[str, np.ndarray], main: str) -> dict[str, float]:
    """Means of per-episode measures (E,), and the interval of the main one."""
    means = {name: float(values.mean()) for name, values in measures.items()}
    return {**means, "ci95": interval(measures[main])}


def harm(measures: dict[str, np.ndarray], base: dict[str, np.ndarray], main: str) -> dict[str, float]:
    """The share of tasks made worse than the base, and the mean of the worst 5%."""
    sign = 1 if main in HIGHER else -1
    values, before = sign * measures[main], sign * base[main]
    worst = np.sort(values)[: max(1, round(0.05 * len(values)))]
    return {"worse_than_base": float((values < before).mean()), "worst_5_percent": float(sign * worst.mean())}


HIGHER = ("accuracy", "f1")
"""Measures of which more is better; of all others less is."""


def main_measure(names: Sequence[str]) -> str:
    """The measure that a comparison is about: accuracy, bits per byte, or the loss."""
    return next(name for name in ("accuracy", "bits_per_byte", "loss") if name in names)


def better(a: float, b: float, main: str) -> bool:
    """Says whether `a` is better than `b`."""
    return a > b if main in HIGHER else a < b
