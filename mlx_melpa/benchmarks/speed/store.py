"""The store with one person, a thousand and a hundred thousand: reading and writing one, and its size on disk"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ...core.layout import Layout, Segment
from ...store import Store, UserState, Version
from .settings import Advance, number

NUMBERS = 4096
"""A person's row: 8 kB in fp16."""
ASKED = 100
MILLISECONDS, SHARE, BESIDE = 5.0, 0.1, 512


def store(counts: tuple[int, ...], advance: Advance) -> dict[str, Any]:
    """Medians of reading and of writing one person's version at each number of people, in ms; bytes on disk.

    `beside` is what a version takes beyond its numbers: at most 10% of them or 512 bytes, whichever is more.
    """
    layout, rng = Layout([Segment("row", (NUMBERS,))]), np.random.default_rng(0)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as people:
        there = versions = 0
        for count in counts:
            people._db.all("PRAGMA synchronous = OFF")  # filling need not wait for the disk; what is timed does
            for user in range(there, count):
                people.put(_name(user), _version(layout, rng))
            people._db.all("PRAGMA synchronous = FULL")
            versions, there = versions + count - there, count
            advance(1, f"{count} people")
            bounded = count == counts[-1]
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
            found[f"people_{count}"] = {
                **_one(people, layout, rng, count, bounded),
                "disk": number(size / 1e6, "MB", versions=versions),
                "beside": number(
                    size / versions - 2 * NUMBERS,
                    "bytes a version",
                    at_most=max(SHARE * 2 * NUMBERS, BESIDE) if bounded else None,
                ),
            }
            versions += ASKED
    return found


def _one(people: Store, layout: Layout, rng: np.random.Generator, count: int, bounded: bool) -> dict[str, Any]:
    """Reading and writing people drawn at random."""
    reads, writes = [], []
    for user in rng.integers(0, count, ASKED):
        name, version = _name(int(user)), _version(layout, rng)
        began = time.perf_counter()
        people.latest(name)
        between = time.perf_counter()
        people.put(name, version)
        reads.append(between - began)
        writes.append(time.perf_counter() - between)
    bound = MILLISECONDS if bounded else None
    named = {"read": median(reads), "write": median(writes)}
    return {name: number(1e3 * seconds, "ms", at_most=bound) for name, seconds in named.items()}


def _name(user: int) -> str:
    return f"user-{user:06d}"


def _version(layout: Layout, rng: np.random.Generator) -> Version:
    """A version as adaptation leaves it: a row, a family, numbers for people."""
    row = rng.standard_normal((1, NUMBERS)).astype(np.float32)
    metrics = {"steps": 5, "loss_before": 2.5, "loss_after": 1.75, "seconds": 1.25}
    return Version(UserState(row), layout, "0" * 16, "pocket", "1" * 16, "2" * 16, examples=10, metrics=metrics)
