"""Seconds that work takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result of a function, and its seconds."""
    began = perf_counter()
    result = work()
    return result, perf_counter() - began


class Stopwatch:
    """Adds up the seconds inside its `with` blocks, without those inside `paused()`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> "Stopwatch":
        self._began = perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the seconds of the block."""
        self.__exit__()
        yield
        self.__enter__()
