"""Exports: a person's adapter as files for other tools, and back. `melpa export --to mlx-lm`."""

from collections.abc import Callable

from .common import Found, Meta, Report
from .melpa import build, describe, melpa, read_melpa
from .mlx_lm import mlx_lm
from .peft import peft
from .read_mlx_lm import read_mlx_lm
from .reading import named_base, read

KINDS: dict[str, Callable[..., Report]] = {"mlx-lm": mlx_lm, "peft": peft, "melpa": melpa}

__all__ = [
    "KINDS",
    "Found",
    "Meta",
    "Report",
    "build",
    "describe",
    "melpa",
    "mlx_lm",
    "named_base",
    "peft",
    "read",
    "read_melpa",
    "read_mlx_lm",
]
