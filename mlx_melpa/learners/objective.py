"""The outer objective of a task, or of a stream of tasks, stage by stage."""

from collections.abc import Sequence

from ..core.types import Batch, Tree
from .backward import QueryTerm, Stage


def stages(support: Tree, query: Tree, steps: int) -> list[Stage]:
    """The stages of single tasks, or of streams where support and query are tuples of batches, one for each place."""
    if isinstance(support, tuple):
        return stream(support, query, steps)
    return [Stage(support, [*([()] * steps), [QueryTerm(1.0, query)]])]


def stream(supports: Sequence[Batch], questions: Sequence[Batch], steps: int) -> list[Stage]:
    """A stream of n tasks: after each the mean loss counts on all so far, every pair of them 2 / (n (n + 1))."""
    share = 2 / (len(supports) * (len(supports) + 1))
    return [
        Stage(
            support,
            [*([()] * steps), [QueryTerm(share, question, task) for task, question in enumerate(questions[: i + 1])]],
        )
        for i, support in enumerate(supports)
    ]
