"""Streams of tasks as batches, and what is kept of each task when the last one is learned."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import inner_loop
from ..core.microbatches import chunks
from ..core.protocols import Parts, Problem
from ..core.types import Batch, Tree
from .curves import main_measure


def prepare(problem: Problem, episodes: Sequence[Any]) -> tuple[Any, Any]:
    """Encodes T episodes as (support, query), and T streams of n episodes as n supports and n questions."""
    if not isinstance(episodes[0], tuple):
        return problem.prepare(episodes)
    places = list(zip(*episodes, strict=True))
    return tuple(map(problem.support, places)), tuple(map(problem.questions, places))


def retained(
    parts: Parts, theta: Tree, streams: Sequence[Sequence[Any]], steps: int, *, tasks_per_pass: int = 4
) -> dict[str, np.ndarray]:
    """Learns each stream, then measures all its tasks: means over them, each (E,), and `bwt`.

    bwt = the mean over tasks but the last of what the main measure changed since the task's own end.
    """
    found = [_chunk(parts, theta, chunk, steps) for chunk in chunks(streams, tasks_per_pass)]
    return {name: np.concatenate([f[name] for f in found]) for name in found[0]}


def _chunk(parts: Parts, theta: Tree, streams: Sequence[Sequence[Any]], steps: int) -> dict[str, np.ndarray]:
    problem, (supports, questions) = parts.problem, prepare(parts.problem, streams)
    asked: list[Batch] = []
    learned: list[Any] = []
    for support, question, state in zip(
        supports, questions, inner_loop.in_turn(parts, theta, supports, steps), strict=True
    ):
        asked.append({**question, **problem.memory(state["rows"], support, theta["problem"])})
        parts.ops.evaluate(asked[-1])
        learned.append(problem.measure(state["rows"], asked[-1], theta["problem"]))
    at_end = [*(problem.measure(state["rows"], each, theta["problem"]) for each in asked[:-1]), learned[-1]]
    main = main_measure(list(at_end[0]))
    changed = [after[main] - before[main] for after, before in zip(at_end[:-1], learned, strict=False)]
    means = {name: np.mean([each[name] for each in at_end], 0) for name in at_end[0]}
    return {**means, "bwt": np.mean(changed, 0)}
