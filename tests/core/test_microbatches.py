"""Tasks in passes: what memory allows, and half as many where it runs out."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.core.microbatches import SHARE, Passes
from mlx_melpa.errors import MelpaError


def test_half_as_many_tasks_are_taken_once_memory_runs_out() -> None:
    sizes: list[int] = []

    def work(tasks: Sequence[int]) -> list[int]:
        sizes.append(len(tasks))
        if len(tasks) > 3:
            raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")
        return list(tasks)

    passes = Passes(ops, 8)
    assert [task for found in passes.each(range(10), work) for task in found] == list(range(10))
    assert sizes == [8, 4, 2, 2, 2, 2, 2] and passes.size == 2


def test_one_task_that_does_not_fit_says_what_to_change() -> None:
    def work(tasks: Sequence[int]) -> None:
        raise MemoryError

    with pytest.raises(MelpaError, match="one task does not fit the memory: lower"):
        list(Passes(ops, 4).each(range(4), work))


def test_other_errors_of_the_engine_are_not_taken_for_a_lack_of_memory() -> None:
    def work(tasks: Sequence[int]) -> None:
        raise RuntimeError("shapes (2,3) and (4,5) don't match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(Passes(ops, 4).each(range(4), work))


@pytest.mark.parametrize(
    "said",
    [
        "[METAL] Command buffer execution failed: Insufficient Memory",
        "Attempting to allocate 9 bytes which is greater than the maximum allowed buffer size of 8 bytes.",
        "cudaMallocAsync failed: out of memory",
    ],
)
def test_what_mlx_says_when_memory_runs_out_is_known(said: str) -> None:
    assert ops.out_of_memory(RuntimeError(said))


@pytest.mark.parametrize(("available", "size"), [(10_000, 6), (1_000_000, 16), (10, 1)])
def test_the_size_follows_from_the_peak_of_one_task(available: int, size: int) -> None:
    peaks = iter([500, 500 + int(SHARE * 1000)])
    engine = SimpleNamespace(peak_memory=lambda: next(peaks), reset_peak_memory=lambda: None)
    passes = Passes(engine, 16)
    passes.fit(lambda: None, available=available if available != 10_000 else 6500)
    assert passes.size == size
