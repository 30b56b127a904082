"""Two lanes on a CPU: parts of a batch that run side by side.

On a CPU MLX runs the operations of a stream one after another, and all but matrix products on one core. So the parts of
a batch go to two streams in turn, each with half of the threads for its products. A GPU has one lane.

MLX's streams belong to a thread, so each thread has a second lane of its own. A thread that has computed ends with
`mx.clear_streams()`, as MLX asks: without it the process may abort at its end.
"""

import ctypes
from contextlib import AbstractContextManager, nullcontext

import mlx.core as mx

from .. import machine
from . import blas

LANES = 2 if mx.default_device().type == mx.DeviceType.cpu and machine.threads() > 1 else 1
_second = mx.new_thread_local_stream(mx.cpu) if LANES > 1 else None


def lane(i: int) -> AbstractContextManager[object]:
    """Computes inside in lane i modulo `LANES`; lane 0 is the stream in use."""
    return nullcontext() if _second is None or i % LANES == 0 else mx.stream(_second)


def share_threads(parts: int) -> None:
    """Lets MKL use its threads divided by `parts` for one product."""
    if LANES > 1 and blas.name().startswith("libmkl"):
        ctypes.CDLL(blas.name()).MKL_Set_Num_Threads(max(1, machine.threads() // parts))
