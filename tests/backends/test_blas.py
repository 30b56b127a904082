"""The machine's BLAS has to be there before MLX."""

import subprocess
import sys

import pytest

from mlx_melpa.backends.mlx import blas

ORDERS = [("mlx.core, mlx_melpa.backends.mlx", 1), ("mlx_melpa.backends.mlx, mlx.core", 0)]


@pytest.mark.skipif(not blas.wanted(), reason="no BLAS is wanted here")
@pytest.mark.parametrize(("order", "warns"), ORDERS)
def test_mlx_imported_too_early_is_told(order: str, warns: int) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {order}"], capture_output=True, text=True, timeout=100)
    assert done.stderr.count("mlx.core was imported before mlx_melpa") == warns, done.stderr
