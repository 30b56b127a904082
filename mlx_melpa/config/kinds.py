"""The folders of kinds: which recipe key is which folder, and its table."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, get_type_hints

FOLDERS = {
    "adapter": "adapters",
    "tasks": "tasks",
    "problem": "problems",
    "readout": "readouts",
    "initializer": "initializers",
    "rule": "rules",
    "regularizer": "regularizers",
    "sampler": "samplers",
    "learner": "learners",
}


def kinds(part: str) -> Mapping[str, Callable[..., Any]]:
    """The table of kinds of a part: `kinds("rule")["meta_sgd"]` is its builder."""
    return import_module(f"..{FOLDERS[part]}", __package__).KINDS


def kind_class(part: str, kind: str) -> Any:
    """The class that a kind's builder returns: its class members answer what no setting decides."""
    return get_type_hints(kinds(part)[kind])["return"]
