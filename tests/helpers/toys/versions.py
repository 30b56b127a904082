"""Versions of a small row."""

from dataclasses import replace
from typing import Any

import numpy as np

from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.store import UserState, Version

LAYOUT = Layout([Segment("q.a", (30, 8), 0.1), Segment("q.b", (8, 20))])


def made(value: float | None = None, **changes: Any) -> Version:
    rows = np.full((1, LAYOUT.size), value) if value is not None else np.zeros((1, LAYOUT.size))
    plain = Version(UserState(rows.astype(np.float32)), LAYOUT, "llama-6m", "pocket", "hash0", run="run0")
    return replace(plain, **changes)
