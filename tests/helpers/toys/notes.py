"""Ten labelled notes, nine lines of text, and a version as the store gives it back."""

from dataclasses import replace

from mlx_melpa.core.types import Example
from mlx_melpa.personal.result import Adaptation
from mlx_melpa.store import Version

HOME = ["pay the gas bill", "call the plumber about the sink", "buy curtains", "water the plants", "clean the kitchen"]
WORK = ["send the report", "prepare slides for the meeting", "review the contract", "book a room", "answer the email"]
NOTES = [Example(text, label=label) for label, texts in (("home", HOME), ("work", WORK)) for text in texts]
LABELS = ("home", "work")
LINES = [Example("", target=f"{word} is my name, says the {word} every day.") for word in (*"abcdefgh", "the cat")]


def saved(outcome: Adaptation, number: int = 1) -> Version:
    return replace(outcome.version, user="me", number=number)
