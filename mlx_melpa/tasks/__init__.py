"""Tasks: sources of episodes, from files, data sets and simulators. `tasks: jsonl` in a recipe."""

from collections.abc import Callable

from ..core.types import Splits
from .hub import hub
from .jsonl import jsonl
from .mixed import mixed
from .sinusoid import sinusoid
from .synthetic import synthetic

KINDS: dict[str, Callable[..., Splits]] = {
    "jsonl": jsonl,
    "hub": hub,
    "synthetic": synthetic,
    "mixed": mixed,
    "sinusoid": sinusoid,
}
