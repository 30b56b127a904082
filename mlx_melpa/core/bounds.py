"""Bounds of a setting, written where the setting is declared: `rank: Annotated[int, Bounds(1, 256)] = 8`."""

from typing import Annotated, NamedTuple


class Bounds(NamedTuple):
    """The closed range [low, high] of a number; `above` excludes `low` itself."""

    low: float | None = None
    high: float | None = None
    above: bool = False

    def allows(self, value: float) -> bool:
        """True if `value` lies in the range."""
        if self.low is not None and (value < self.low or (self.above and value == self.low)):
            return False
        return self.high is None or value <= self.high

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'more than' if self.above else 'at least'} {self.low:g}"
        high = "" if self.high is None else f"at most {self.high:g}"
        return " and ".join(part for part in (low, high) if part) or "any number"


Count = Annotated[int, Bounds(1)]
Natural = Annotated[int, Bounds(0)]
Positive = Annotated[float, Bounds(0, above=True)]
Share = Annotated[float, Bounds(0, 1)]
