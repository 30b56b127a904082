"""A small base, and adapters on it that go when a test ends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base, load


@pytest.fixture(scope="module")
def base(shared: Path) -> Base:
    return load(str(shared / "models" / "stories260k"))


@pytest.fixture
def put() -> Iterator[Callable[..., Adapted]]:
    there: list[Adapted] = []

    def on(base: Base, kind: str = "lora", **settings: Any) -> Adapted:
        there.append(Adapted(base, KINDS[kind](**settings)))
        return there[-1]

    yield on
    for adapted in there:
        adapted.detach()
