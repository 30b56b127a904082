"""Simulated people: a writing style, and a labelling of messages with folders of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .frames import ATTRIBUTES
from .topics import Topic, one

# fmt: off
FOLDERS = ["inbox", "blue", "green", "later pile", "mum", "home stuff", "box A", "box B", "drawer", "to sort", "misc",
           "alpha", "beta", "gamma", "shelf", "keep", "archive", "team", "Sunday", "club", "paper", "red list", "fun",
           "boring", "north", "south", "bag", "desk", "notes", "folder 7", "stack", "corner"]
GREETINGS = ["hi", "hello", "hey there", "good day", "dear friend", "yo", "greetings", "morning", "howdy", "hiya"]
SIGN_OFFS = ["cheers", "best", "yours", "take care", "bye now", "see you", "love", "kind regards", "later",
             "over and out"]
SIGNERS = ["Tom", "Mia", "Raj", "Sue", "Leo", "Kim", "Zoe", "Max", "Ivy", "Ned", "Pia", "Sam"]
FAVOURITES = ["honestly", "well", "you know", "frankly", "oh", "basically", "look", "as ever", "indeed", "so", "right",
              "listen"]
ENDINGS = [".", "!", "...", "", "!!", " :)", " ;-)", "~"]
REPLIES = ["thanks, {}", "good to know, {}", "no problem, {}", "yes, and {}", "sorry to hear that, {}",
           "I see, but {}", "let me add: {}", "that reminds me, {}"]
CASINGS = ["sentence", "sentence", "lower", "lower", "upper", "title"]
# fmt: on
Cell = tuple[Topic, str | None]


@dataclass(frozen=True)
class Style:
    """One person's writing style: a fixed greeting, sign-off, casing, ending and favourite word."""

    greeting: str
    sign_off: str
    signer: str
    favourite: str
    ending: str
    casing: str
    chatty: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Style":
        """Draws a person's style."""
        greeting, sign_off, signer, favourite, ending, casing = (
            one(words, rng) for words in (GREETINGS, SIGN_OFFS, SIGNERS, FAVOURITES, ENDINGS, CASINGS)
        )
        return cls(greeting, sign_off, signer, favourite, ending, casing, chatty=float(rng.uniform(0.0, 0.6)))

    def say(self, text: str, rng: np.random.Generator) -> str:
        """A short message in this style: the casing, the ending, and now and then the favourite word."""
        if rng.random() < self.chatty:
            text = f"{self.favourite}, {text}"
        end = self.ending if text[-1] != "?" else "?" + self.ending.lstrip(".")
        return self._cased(text.rstrip("?")) + end

    def reply(self, text: str, rng: np.random.Generator) -> str:
        """A reply in this style: greeting, message with the favourite word, sign-off, name."""
        body = one(REPLIES, rng).format(text.rstrip("?"))
        said = f"{self._cased(f'{self.favourite}, {body}')}{self.ending}"
        return f"{self._cased(self.greeting)}, {said} {self._cased(self.sign_off)}, {self.signer}"

    def in_words(self) -> str:
        """The style in one sentence."""
        marks = f"greets with '{self.greeting}', likes to say '{self.favourite}' and closes with '{self.sign_off}'"
        return f"{self.signer} writes in {self.casing} case, {marks}"

    def _cased(self, text: str) -> str:
        if self.casing == "sentence":
            return text[:1].upper() + text[1:]
        return {"lower": text.lower(), "upper": text.upper(), "title": text.title()}[self.casing]


def folders(topics: Sequence[Topic], ways: int, rng: np.random.Generator) -> dict[str, tuple[Cell, ...]]:
    """Draws a person's labelling: some of the cells, partitioned into `ways` named folders.

    A cell is a topic. For a quarter of the people, and if there are too few topics, it is a topic in one of two moods.
    """
    fine = ways > len(topics) or rng.random() < 0.25
    moods: Sequence[str | None] = one(ATTRIBUTES, rng) if fine else (None,)
    cells: list[Cell] = [(topic, mood) for topic in topics for mood in moods]
    order = [cells[i] for i in rng.permutation(len(cells))]
    names = [FOLDERS[i] for i in rng.permutation(len(FOLDERS))[:ways]]
    extra = int(rng.integers(0, min(ways, len(order) - ways) + 1))
    return {name: tuple(order[i] for i in (k, ways + k) if i < ways + extra) for k, name in enumerate(names)}


def in_words(labelling: Mapping[str, Sequence[Cell]]) -> str:
    """A labelling in words: which topics are filed under which name."""
    topics_of = {
        name: " and ".join(topic.name + (f" ({mood})" if mood else "") for topic, mood in cells)
        for name, cells in labelling.items()
    }
    return ", ".join(f"{topics} under '{name}'" for name, topics in topics_of.items())


def two_classes(topics: Sequence[Topic], rng: np.random.Generator) -> dict[str, tuple[Cell, ...]]:
    """Draws a binary task: topic against topic, or the two moods of an attribute over one to three topics."""
    chosen = [topics[i] for i in rng.permutation(len(topics))[: int(rng.integers(2, 5))]]
    if rng.random() < 0.4:
        return {topic.name: ((topic, None),) for topic in chosen[:2]}
    return {mood: tuple((topic, mood) for topic in chosen[1:]) for mood in one(ATTRIBUTES, rng)}
