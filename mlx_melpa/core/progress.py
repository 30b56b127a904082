"""How long work tells its progress."""

from typing import Protocol


class Advance(Protocol):
    """Tells progress: `amount` of the work is done, and `text` names what is under way."""

    def __call__(self, amount: float = 1, text: str = "", /) -> None: ...


def silent(amount: float = 1, text: str = "", /) -> None:
    """Tells nothing."""
