"""An empty store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_melpa.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        yield opened
