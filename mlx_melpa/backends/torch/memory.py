"""The memory that torch's tensors take, in bytes."""

import resource
import sys

import torch

from .. import machine
from .device import device


def peak_memory() -> int:
    """Bytes at the peak: of the card's allocator since `reset_peak_memory`, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def memory_available() -> int | None:
    """Bytes that tensors may still take: on a card those that nobody holds, else what the machine has free."""
    if device.type != "cuda":
        return machine.memory_available()
    return torch.cuda.mem_get_info(device)[0] + _kept_for_reuse()


def out_of_memory(error: BaseException) -> bool:
    """True if an error of the engine means that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def clear_cache() -> None:
    """Gives back what the card's allocator keeps for reuse."""
    torch.cuda.empty_cache()


def _kept_for_reuse() -> int:
    """Bytes that the card's allocator keeps for reuse; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def reset_peak_memory() -> None:
    """Starts a new measurement of `peak_memory` on a card; a process's peak can't be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def limit_cache(size: int) -> None:
    """Gives back what the card's allocator keeps beyond `size` bytes; torch has no standing bound."""
    if _kept_for_reuse() > size:
        torch.cuda.empty_cache()
