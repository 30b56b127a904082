"""The settings of `melpa bench speed`, and the form of its numbers in JSON."""

from dataclasses import dataclass
from pathlib import Path

from ...core.types import Json


@dataclass(frozen=True)
class Settings:
    """model: pocket or a folder. peers: packages to compare with. repeats: measurements of each side, interleaved.

    run: a meta-trained run to adapt with; None trains one. out: a folder for plots, or None. short: the least work that
    still shows that all parts fit together.
    """

    model: str = "pocket"
    peers: tuple[str, ...] = ("mlx-lm",)
    repeats: int = 5
    run: str | None = None
    out: Path | None = None
    short: bool = False


def number(
    value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None, **more: object
) -> Json:
    """One number in the JSON: value, unit, and its goal if it has one."""
    return {"value": value, "unit": unit, **more, **goal(value, at_least, at_most)}


def goal(value: float, at_least: float | None, at_most: float | None) -> Json:
    """The bound of a number, and `met`: whether it is reached; empty without a bound."""
    if at_least is not None:
        return {"at_least": at_least, "met": value >= at_least}
    if at_most is not None:
        return {"at_most": at_most, "met": value <= at_most}
    return {}
