"""Exports: a user's adapter as files for other tools, and back. `melpa export --to mlx-lm`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..backends.base import BaseModel
from .common import Exported, Imported, adapter_values, layout_of
from .melpa import FILE, build, melpa, read_melpa
from .mlx_lm import CONFIG, mlx_lm
from .peft import peft
from .read_mlx_lm import read_config, read_mlx_lm


@dataclass(frozen=True)
class Format:
    """Files that `write` makes of a row; `engine` is the one that checks them, None where any does."""

    write: Callable[..., Exported]
    engine: str | None = None


KINDS = {"mlx-lm": Format(mlx_lm, "mlx"), "peft": Format(peft, "torch"), "melpa": Format(melpa)}


def read(base: BaseModel, folder: Path) -> Imported:
    """Reads an adapter of `base` from a folder that melpa, mlx-lm or its trainer wrote.

    Raises ExportError, and ModelError where the base has no such sites.
    """
    imported = read_melpa(folder) if (folder / FILE).is_file() else read_mlx_lm(base, folder)
    adapter_values(layout_of(base, build(imported.adapter)), imported.row, imported.metadata)
    return imported


def base_name(folder: Path) -> str | None:
    """The base model that a folder's files name; None where they name none."""
    if (folder / FILE).is_file():
        return read_melpa(folder).metadata.base.get("name")
    config = read_config(folder / CONFIG)
    return config.get("melpa", {}).get("base", {}).get("name") or config.get("model")
