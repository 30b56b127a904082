"""Thresholds of glibc's heap, so that it keeps the memory that MLX frees; Linux only.

On a CPU MLX takes every array from the heap and frees it after its last use; glibc hands large pieces back to the
kernel at once, which then has to clear their pages again for the next array. A chain of twenty operations over 10 MB
takes a quarter of the time where they are kept. On a Mac nothing here does anything.
"""

import ctypes
import os
import platform

TRIM, MMAP = -1, -3
"""The names M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h."""
LARGEST = 32 << 20
"""The most bytes that glibc takes for M_MMAP_THRESHOLD; larger arrays are still handed back."""


def keep() -> bool:
    """Sets both thresholds, unless the environment names one of them; True if it did."""
    named = any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"))
    if named or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP, LARGEST) and library.mallopt(TRIM, 2**31 - 1))


def give_back() -> None:
    """Hands the kernel what the heap keeps."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
