"""How long something takes"""

from collections.abc import Callable
from time import perf_counter
from typing import Any


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, and its seconds."""
    began = perf_counter()
    found = work()
    return found, perf_counter() - began
