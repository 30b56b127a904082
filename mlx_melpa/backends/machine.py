"""The machine's memory, cores and threads, the same for every engine."""

import os
from pathlib import Path


def memory_total() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_available() -> int | None:
    """Bytes that can be taken without pushing others out; None where the system doesn't say."""
    info = Path("/proc/meminfo")
    if not info.is_file():
        return None
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def named_threads() -> int | None:
    """The threads that MKL_NUM_THREADS or OMP_NUM_THREADS allow a product; None where neither is a number."""
    named = os.environ.get("MKL_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    return max(1, int(named)) if named and named.isdecimal() else None


def threads() -> int:
    """The threads that a product may use: those of the environment, else one a core."""
    return named_threads() or cores()
