"""Folders of either format, read for a base."""

import json
from pathlib import Path
from typing import Any

from ..errors import ExportError
from .common import Found, adapter_row, layout_of
from .melpa import FILE, build, read_melpa
from .mlx_lm import CONFIG
from .read_mlx_lm import read_mlx_lm


def read(base: Any, folder: Path) -> Found:
    """Reads an adapter of `base` from a folder that melpa, mlx-lm or its trainer wrote.

    Raises ExportError, and ModelError where the base has no such sites.
    """
    found = read_melpa(folder) if (folder / FILE).is_file() else read_mlx_lm(base, folder)
    adapter_row(layout_of(base, build(found.adapter)), found.row, found.meta)
    return found


def named_base(folder: Path) -> str | None:
    """The base that a folder's files name; None where they name none."""
    if (folder / FILE).is_file():
        return read_melpa(folder).meta.base.get("name")
    try:
        described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(
            f"there is no adapter in {folder} ({error.strerror}: {CONFIG}); give an export's folder"
        ) from error
    except ValueError as error:
        raise ExportError(f"{folder / CONFIG} is no JSON ({error}); export the adapter again") from error
    return described.get("melpa", {}).get("base", {}).get("name") or described.get("model")
