"""The outer loss of a task, or of a stream of tasks, as legs of the walk."""

from collections.abc import Sequence
from typing import Any

from ..core.types import Batch
from .backward import Leg, at_end


def legs(support: Any, query: Any, steps: int) -> list[Leg]:
    """Legs of single tasks, or of streams where support and query are tuples of batches, one for each place."""
    return in_turn(support, query, steps) if isinstance(support, tuple) else at_end(support, query, steps)


def in_turn(supports: Sequence[Batch], questions: Sequence[Batch], steps: int) -> list[Leg]:
    """A stream of n tasks: after each the mean loss counts on all so far, every pair of them 2 / (n (n + 1))."""
    share = 2 / (len(supports) * (len(supports) + 1))
    return [
        Leg(support, [*([()] * steps), [(share, question, task) for task, question in enumerate(questions[: i + 1])]])
        for i, support in enumerate(supports)
    ]
