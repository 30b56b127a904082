"""The machine's BLAS has to be there before MLX."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_melpa.backends.mlx import blas

ROOT = Path(__file__).parents[2]
USERS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "mlx_melpa").rglob("*.py"))
    if re.search(
        r"^(import mlx\b|from mlx\b|from \.+backends\.mlx import)", path.read_text(encoding="utf-8"), re.MULTILINE
    )
]
ORDERS = [("mlx.core, mlx_melpa.backends.mlx", 1), ("mlx_melpa.backends.mlx, mlx.core", 0)]


@pytest.mark.skipif(not blas.wanted(), reason="no BLAS is wanted here")
@pytest.mark.parametrize(("order", "warns"), ORDERS)
def test_mlx_imported_too_early_is_told(order: str, warns: int) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {order}"], capture_output=True, text=True, timeout=100)
    assert done.stderr.count("mlx.core was imported before mlx_melpa") == warns, done.stderr


@pytest.mark.skipif(not blas.wanted(), reason="no BLAS is wanted here")
def test_no_module_of_ours_imports_mlx_too_early() -> None:
    assert "mlx_melpa.exports.mlx_lm" in USERS and "mlx_melpa.backends.mlx.ops" in USERS
    for name in USERS:
        command = [sys.executable, "-W", "error::RuntimeWarning", "-c", f"import {name}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, f"{name}: {done.stderr}"
