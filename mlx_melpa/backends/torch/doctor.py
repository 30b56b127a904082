"""The machine as torch sees it: version, device, number format, the rate of a matrix product."""

import time
from dataclasses import dataclass

import torch

from . import ops
from .device import device, dtype


@dataclass(frozen=True)
class Diagnosis:
    """The state of torch here: `format` is the frozen model's number format, in which `gflops` is measured."""

    version: str
    device: str
    format: str
    gflops: float


def examine(size: int = 1024, times: int = 5) -> Diagnosis:
    """Measures a square product of the frozen model's format where torch would compute: the best of `times`."""
    size *= 8 if device.type == "cuda" else 1
    a, b = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(times + 1):
        ops.evaluate()
        began = time.perf_counter()
        a @ b
        ops.evaluate()
        best = min(best, time.perf_counter() - began)
    where = ops.identity()["device"]
    return Diagnosis(torch.__version__, where, str(dtype).removeprefix("torch."), round(2 * size**3 / best / 1e9, 1))
