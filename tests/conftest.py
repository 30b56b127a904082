"""What many tests need: the shared folder of public data and models."""

import os
from pathlib import Path

import pytest

# Tests run side by side and start processes: the threads of several would wait for each other.
os.environ.setdefault("MKL_NUM_THREADS", "1")

import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS, before any test file imports mlx.core)
from mlx_melpa.store.run import Run
from mlx_melpa.store.untrained import random_run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder (MELPA_SHARED, else ../shared); without it tests skip, and in CI they fail."""
    folder = Path(os.environ.get("MELPA_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        reason = "no shared folder beside the repository; set MELPA_SHARED"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="module")
def sorting(shared: Path) -> Run:
    """A random start that gives labels."""
    return random_run(str(shared / "models/stories260k"), labelled=True)


@pytest.fixture(scope="module")
def writing(shared: Path) -> Run:
    """A random start that writes text."""
    return random_run(str(shared / "models/stories260k"), labelled=False)
