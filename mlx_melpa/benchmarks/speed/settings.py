"""What every section of a bench is told, and what its numbers are written as"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Advance = Callable[..., None]
"""advance(count=1, text=""): a piece of work is done."""


@dataclass(frozen=True)
class Settings:
    """model: pocket or a folder. peers: other packages to be measured beside. pairs: measurements of each, in turn.

    run: a meta-trained run to adapt with; None makes one. out: a folder for plots, or None. short: as little work as
    shows that everything still fits together.
    """

    model: str = "pocket"
    peers: tuple[str, ...] = ("mlx-lm",)
    pairs: int = 5
    run: str | None = None
    out: Path | None = None
    short: bool = False


def number(
    value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None, **more: Any
) -> dict[str, Any]:
    """One measured number as it stands in the JSON: value, unit, and what is wanted of it, where something is."""
    found: dict[str, Any] = {"value": value, "unit": unit, **more}
    return {**found, **wanted(value, at_least, at_most)}


def wanted(value: float, at_least: float | None, at_most: float | None) -> dict[str, Any]:
    """The bound that a number is held against, and whether it is met; nothing where there is none."""
    if at_least is not None:
        return {"at_least": at_least, "met": value >= at_least}
    if at_most is not None:
        return {"at_most": at_most, "met": value <= at_most}
    return {}
