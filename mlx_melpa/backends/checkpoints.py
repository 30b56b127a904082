"""A base model's files and configuration, the same for every engine."""

import json
from pathlib import Path
from typing import Any

from ..errors import ModelError

FETCHED = ["*.json", "*.safetensors", "*.py", "*.model", "*.txt", "*.jinja"]

Config = dict[str, Any]
"""The content of a config.json."""
POCKET = Path(__file__).resolve().parents[1] / "pocket" / "base"
"""The folder of the embedded base."""


def fetch(name: str) -> Path:
    """The folder of a base by hub name (fetched) or path; `pocket` is the one that comes with the package.

    Raises ModelError where it can't be had.
    """
    from huggingface_hub import snapshot_download

    if name == "pocket":
        path = POCKET
    elif Path(name).expanduser().exists():
        path = Path(name).expanduser()
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")):
        try:
            path = Path(snapshot_download(name, allow_patterns=FETCHED))
        except Exception as error:
            raise ModelError(
                f"model '{name}' can't be fetched: {first_line(error)}; "
                "check the name and the network, or give a local folder"
            ) from error
    else:
        raise ModelError(
            f"model '{name}' is no folder here and no hub name; give 'pocket', a folder, "
            "or a name such as mlx-community/Qwen3-0.6B-4bit"
        )
    if not (path / "config.json").is_file():
        raise ModelError(f"model '{name}': there is no config.json in {path}; give a folder that mlx-lm loads")
    return path


def config(folder: Path) -> Config:
    """A folder's config.json, with the end mark of its generation_config.json where that names one, as mlx-lm reads."""
    found: Config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    beside = folder / "generation_config.json"
    if beside.is_file():
        try:
            end = json.loads(beside.read_text(encoding="utf-8")).get("eos_token_id")
        except ValueError:
            return found
        if end:
            found["eos_token_id"] = end
    return found


def first_line(error: Exception) -> str:
    """An error of a library in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def located(model: str) -> str:
    """A base's name: a folder as an absolute path, since it is stored; hub names and pocket as they are."""
    folder = Path(model).expanduser()
    return model if model == "pocket" or not folder.exists() else str(folder.resolve())
