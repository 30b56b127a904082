"""Task streams: encoded as batches, and measured after the last task, with backward transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core import inner_loop
from ..core.microbatches import chunks
from ..core.protocols import Components, Problem
from ..core.types import Batch, Tree
from .curves import Measures, main_measure

Stream = Sequence[Any]
"""Episodes that are learned one after another."""
Encoded = Any
"""A batch of tasks; of streams a tuple of one for each place."""


def prepare(problem: Problem, episodes: Stream) -> tuple[Encoded, Encoded]:
    """Encodes T episodes as (support, query), and T streams of n episodes as n supports and n questions."""
    return _prepare_streams(problem, episodes) if isinstance(episodes[0], tuple) else problem.prepare(episodes)


def _prepare_streams(problem: Problem, streams: Sequence[Stream]) -> tuple[tuple[Batch, ...], tuple[Batch, ...]]:
    places = list(zip(*streams, strict=True))
    return tuple(map(problem.support, places)), tuple(map(problem.questions, places))


def measure_streams(
    parts: Components, theta: Tree, streams: Sequence[Stream], steps: int, tasks_per_pass: int = 4
) -> Measures:
    """Learns each stream, then measures all its tasks: means over them, each (E,), and `bwt`.

    bwt, backward transfer: the mean over all tasks but the last of the change of the main measure since the task's end.
    """
    found = [_measure(parts, theta, chunk, steps) for chunk in chunks(streams, tasks_per_pass)]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _measure(parts: Components, theta: Tree, streams: Sequence[Stream], steps: int) -> Measures:
    problem, shared = parts.problem, theta["problem"]
    supports, questions = _prepare_streams(problem, streams)
    queries: list[Batch] = []
    at_task_end: list[Mapping[str, np.ndarray]] = []
    states = inner_loop.in_turn(parts, theta, supports, steps)
    for support, question, state in zip(supports, questions, states, strict=True):
        queries.append({**question, **problem.memory(state["rows"], support, shared)})
        parts.ops.evaluate(queries[-1])
        at_task_end.append(problem.measure(state["rows"], queries[-1], shared))
    at_end = [*(problem.measure(state["rows"], query, shared) for query in queries[:-1]), at_task_end[-1]]
    main = main_measure(list(at_end[0]))
    changes = [after[main] - before[main] for after, before in zip(at_end[:-1], at_task_end, strict=False)]
    means = {name: np.mean([each[name] for each in at_end], 0) for name in at_end[0]}
    return {**means, "bwt": np.mean(changes, 0)}
