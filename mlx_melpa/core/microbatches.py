"""Micro-batches: as many tasks in one pass of the model as memory allows, and fewer after it ran out."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import MelpaError
from .engine import Engine

Found = TypeVar("Found")
Task = TypeVar("Task")
SHARE = 0.6
"""The share of free memory that a pass may take."""


class Passes:
    """Cuts tasks into passes of at most `size`."""

    def __init__(self, ops: Engine, size: int):
        self.ops, self.size = ops, size

    def fit(self, one: Callable[[], object], available: int | None = None) -> None:
        """Lowers `size` to what fits `available` bytes (default: what is free), by the peak of `one` task's work."""
        free = self.ops.memory_available() if available is None else available
        if free is None or self.size == 1:
            return
        self.ops.reset_peak_memory()
        before = self.ops.peak_memory()
        one()
        each = max(1, self.ops.peak_memory() - before)
        self.size = max(1, min(self.size, int(SHARE * free / each)))

    def each(self, tasks: Sequence[Task], work: Callable[[Sequence[Task]], Found]) -> Iterator[Found]:
        """Yields the result of `work` for each pass. When memory runs out, passes take half as many tasks from then on.

        Raises MelpaError where a single task does not fit.
        """
        done = 0
        while done < len(tasks):
            try:
                found = work(tasks[done : done + self.size])
            except (RuntimeError, MemoryError) as error:
                if not self.ops.out_of_memory(error):
                    raise
                if self.size == 1:
                    raise MelpaError(
                        "one task does not fit the memory: lower readout.max_length, tasks.shots or tasks.queries, "
                        "or adapt fewer layers (adapter.layers)"
                    ) from error
                self.size = max(1, min(self.size, len(tasks) - done) // 2)
                self.ops.clear_cache()
                continue
            done += self.size
            yield found


def chunks(items: Sequence[Task], size: int) -> Iterator[Sequence[Task]]:
    """Cuts a list into parts of at most `size`."""
    return (items[i : i + size] for i in range(0, len(items), size))
