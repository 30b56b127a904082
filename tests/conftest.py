"""What tests share: the folder of public data beside the repository."""

import os
from pathlib import Path

import pytest

import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS, before any test file imports mlx.core)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data and models; without it a test is skipped, and in CI fails."""
    folder = Path(os.environ.get("MELPA_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        reason = f"no shared data in {folder}; set MELPA_SHARED"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
