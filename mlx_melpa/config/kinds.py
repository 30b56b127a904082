"""The folders of kinds: which recipe key is which folder, and its table."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

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
