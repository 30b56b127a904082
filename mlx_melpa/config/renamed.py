"""Names that recipes of version 0.1 use, and what they are called now."""

import json
from collections.abc import Mapping
from pathlib import Path

from .yaml_document import KeyPath, Value

KINDS = {("tasks", "at_hand"): "mixed", ("initializer", "prototype"): "proto_head"}
SETTINGS = {("tasks", "kind_of"): "variant", ("readout", "primed"): "metric_episodes"}


def rename(tree: Mapping[str, Value]) -> tuple[dict[str, Value], list[tuple[KeyPath, str]]]:
    """A recipe's tree with today's names, and what was renamed: (path, message)."""
    now = dict(tree)
    renamed: list[tuple[KeyPath, str]] = []
    for (part, old), new in KINDS.items():
        value = now.get(part)
        if value == old:
            now[part] = new
        elif isinstance(value, dict) and value.get("kind") == old:
            now[part] = {**value, "kind": new}
        else:
            continue
        renamed.append(((part,), f"kind '{old}' is called '{new}' since version 0.2; write {part}: {new}"))
    for (part, old), new in SETTINGS.items():
        value = now.get(part)
        if isinstance(value, dict) and old in value:
            now[part] = {new if name == old else name: setting for name, setting in value.items()}
            renamed.append(((part, old), f"is called '{new}' since version 0.2; write {part}.{new}"))
    return now, renamed


def of_version_0_1(recipe: Path) -> bool:
    """True if a file is the recipe of a run that version 0.1 made, by the run.json beside it."""
    try:
        info = json.loads((recipe.parent / "run.json").read_text(encoding="utf-8"))
        return recipe.name == "recipe.yaml" and str(info["melpa"]).startswith("0.1.")
    except (OSError, ValueError, KeyError, TypeError):
        return False
