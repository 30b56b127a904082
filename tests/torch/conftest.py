"""What the tests of the second engine share; without torch and transformers they are skipped, with that reason."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.compose import engine, part_of

pytest.importorskip("torch", reason="torch is not installed: pip install 'mlx-melpa[torch]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'mlx-melpa[torch]'")
ENGINES = ("mlx", "torch")


@pytest.fixture(scope="session")
def bases(shared: Path) -> dict[str, Any]:
    """One small llama on both engines."""
    return {name: part_of(name, "model").load(str(shared / "models" / "stories260k")) for name in ENGINES}


@pytest.fixture
def put(bases: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """Puts an adapter on the base of an engine, or on another base, and takes it off when the test ends."""
    there: list[Any] = []

    def on(name: str, kind: str = "lora", base: Any = None, **settings: Any) -> Any:
        there.append(part_of(name, "adapted").Adapted(base or bases[name], KINDS[kind](**settings)))
        return there[-1]

    yield on
    for adapted in there:
        adapted.detach()


@pytest.fixture(scope="session")
def ops() -> Any:
    """The second engine's operations."""
    return engine("torch")
