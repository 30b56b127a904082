"""Latency of the store with one user, a thousand and a hundred thousand; and its size on disk."""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ...core.layout import Layout, Segment
from ...store import Store, UserState, Version
from ..study import Advance
from .settings import number

PARAMETERS = 4096
"""A user's row: 8 kB in fp16."""
OPERATIONS = 100
MAX_MILLISECONDS, MAX_OVERHEAD, MAX_OVERHEAD_BYTES = 5.0, 0.1, 512


def store(counts: tuple[int, ...], advance: Advance) -> dict[str, Any]:
    """Median latency in ms of reading and writing one version at each number of users; bytes on disk.

    `beside`: bytes of a version without its parameters. The goal is 10% of those, or 512 bytes if that is more.
    """
    layout, rng = Layout([Segment("row", (PARAMETERS,))]), np.random.default_rng(0)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as users:
        there = versions = 0
        for count in counts:
            with users.bulk():
                for user in range(there, count):
                    users.put(_name(user), _version(layout, rng))
            versions, there = versions + count - there, count
            advance(1, f"{count} users")
            bounded = count == counts[-1]
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
            results[f"people_{count}"] = {
                **_latency(users, layout, rng, count, bounded),
                "disk": number(size / 1e6, "MB", versions=versions),
                "beside": number(
                    size / versions - 2 * PARAMETERS,
                    "bytes a version",
                    at_most=max(MAX_OVERHEAD * 2 * PARAMETERS, MAX_OVERHEAD_BYTES) if bounded else None,
                ),
            }
            versions += OPERATIONS
    return results


def _latency(users: Store, layout: Layout, rng: np.random.Generator, count: int, bounded: bool) -> dict[str, Any]:
    """Reads and writes versions of random users."""
    reads, writes = [], []
    for user in rng.integers(0, count, OPERATIONS):
        name, version = _name(int(user)), _version(layout, rng)
        began = time.perf_counter()
        users.latest(name)
        between = time.perf_counter()
        users.put(name, version)
        reads.append(between - began)
        writes.append(time.perf_counter() - between)
    bound = MAX_MILLISECONDS if bounded else None
    medians = {"read": median(reads), "write": median(writes)}
    return {name: number(1e3 * seconds, "ms", at_most=bound) for name, seconds in medians.items()}


def _name(user: int) -> str:
    return f"user-{user:06d}"


def _version(layout: Layout, rng: np.random.Generator) -> Version:
    """A version such as adaptation makes: a row, fingerprints, metrics."""
    row = rng.standard_normal((1, PARAMETERS)).astype(np.float32)
    metrics = {"steps": 5, "loss_before": 2.5, "loss_after": 1.75, "seconds": 1.25}
    return Version(UserState(row), layout, "0" * 16, "pocket", "1" * 16, "2" * 16, examples=10, metrics=metrics)
