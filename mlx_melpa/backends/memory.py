"""The machine's memory, the same for every engine."""

import os
from pathlib import Path


def total() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available() -> int | None:
    """Bytes that can be taken without pushing others out; None where the system doesn't say."""
    info = Path("/proc/meminfo")
    if not info.is_file():
        return None
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
