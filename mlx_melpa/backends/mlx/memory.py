"""The memory that MLX's arrays take, in bytes."""

import mlx.core as mx

from .. import machine
from . import malloc


def peak_memory() -> int:
    """Bytes at the peak since `reset_peak_memory`, the cache of the allocator not counted."""
    return max(mx.get_peak_memory(), mx.get_active_memory())


def memory_available() -> int | None:
    """Bytes that arrays may still take: what is free, or on a Mac what Metal recommends to stay under."""
    recommended = mx.device_info().get("max_recommended_working_set_size")
    return machine.memory_available() if recommended is None else int(recommended) - mx.get_active_memory()


def out_of_memory(error: BaseException) -> bool:
    """True if an error of the engine means that memory ran out."""
    signs = ("insufficient memory", "out of memory", "unable to allocate", "bad_alloc", "maximum allowed buffer")
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)


def clear_cache() -> None:
    """Gives back what the allocator keeps for reuse."""
    mx.clear_cache()
    malloc.give_back()


def reset_peak_memory() -> None:
    """Starts a new measurement of `peak_memory`."""
    mx.reset_peak_memory()


def limit_cache(size: int) -> None:
    """Bounds the allocator's cache, in bytes; a lower bound stays, as MLX has on a CPU."""
    mx.set_cache_limit(min(size, mx.set_cache_limit(size)))
