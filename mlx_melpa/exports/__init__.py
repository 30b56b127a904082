"""Exports: a person's adapter as files for other tools, and back. `melpa export --to mlx-lm`."""

from pathlib import Path
from typing import Any

from .folder import Found, Meta, Report
from .melpa import FILE, build, describe, melpa, read_melpa
from .mlx_lm import mlx_lm
from .read_mlx_lm import read_mlx_lm

KINDS = {"mlx-lm": mlx_lm, "melpa": melpa}

__all__ = [
    "KINDS",
    "Found",
    "Meta",
    "Report",
    "build",
    "describe",
    "melpa",
    "mlx_lm",
    "read",
    "read_melpa",
    "read_mlx_lm",
]


def read(base: Any, folder: Path) -> Found:
    """Reads an adapter of `base` from a folder in either format; raises ExportError."""
    return read_melpa(folder) if (folder / FILE).is_file() else read_mlx_lm(base, folder)
