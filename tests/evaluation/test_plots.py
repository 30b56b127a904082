"""Plots, and the extra that they need."""

from pathlib import Path

import pytest

from mlx_melpa.errors import MelpaError
from mlx_melpa.evaluation.plots import plot_curves


def test_a_plot_is_written(tmp_path: Path) -> None:
    path = plot_curves(tmp_path / "a.png", {"meta": ([0, 1, 5], [0.5, 0.8, 0.9])}, lines={"prototypes": 0.7})
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MelpaError, match=r"pip install 'mlx-melpa\[plots\]'"):
        plot_curves(tmp_path / "a.png", {"a": ([0], [1.0])})
