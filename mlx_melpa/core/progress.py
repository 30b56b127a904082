"""The callback that reports progress."""

from typing import Protocol


class Advance(Protocol):
    """Reports that `amount` units of work are done; `text` names the current work."""

    def __call__(self, amount: float = 1, text: str = "", /) -> None: ...


def silent(amount: float = 1, text: str = "", /) -> None:
    """Reports nothing."""
