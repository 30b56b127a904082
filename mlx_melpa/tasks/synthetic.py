"""Simulated people and two-class tasks, seeded and unlimited: enough to start without data."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

from ..core.bounds import Bounds, Natural
from ..core.types import Episode, Example, Splits, Tasks
from ..data.simulated.people import Cell, Style, folders, in_words, two_classes
from ..data.simulated.topics import TOPICS, Topic, one
from ..errors import DataError
from .episodes import shuffled
from .splits import task_hash

Variant = Literal["people", "binary", "mixed", "style"]
TRAIN, VALIDATION = 18, 6


class SimulatedTasks(Tasks):
    """An unlimited number of people or tasks, whose texts are about some topics."""

    ways: int

    def __init__(self, topics: Sequence[Topic], *, variant: Variant, ways: int, shots: int, queries: int, noise: float):
        self.topics, self.variant = tuple(topics), variant
        self.ways, self.shots, self.queries, self.noise = ways, shots, queries, noise

    def episode(self, rng: np.random.Generator) -> Episode:
        """Draws a person or a task, then their examples; no sentence is in both support and query."""
        if self.variant == "style":
            return self._style(rng)
        binary = self.variant == "binary" or (self.variant == "mixed" and rng.random() < 0.5)
        classes = two_classes(self.topics, rng) if binary else folders(self.topics, self.ways, rng)
        style = Style.draw(rng)
        name = " or ".join(classes) if binary else f"{style.signer}: {', '.join(classes)}"
        seen: set[str] = set()
        support: list[Example] = []
        query: list[Example] = []
        for label, cells in classes.items():
            texts = [_fresh(cells, seen, rng) for _ in range(self.shots + self.queries)]
            made = [Example(style.say(text, rng), label=label, source="simulated") for text in texts]
            support += made[: self.shots]
            query += made[self.shots :]
        labels = list(classes)
        order = tuple(labels[i] for i in rng.permutation(len(labels)))
        if binary:
            support = _mislabelled(support, order, float(rng.uniform(0, self.noise)), rng)
        description = "" if binary else f"{style.signer} files {in_words(classes)}"
        return Episode(name, shuffled(support, rng), shuffled(query, rng), order, description)

    def text_person(self, rng: np.random.Generator) -> tuple[Style, list[Example]]:
        """Draws a person: their style, and shots + queries pairs of a message and their reply."""
        style = Style.draw(rng)
        seen: set[str] = set()
        lines = []
        for _ in range(self.shots + self.queries):
            cell = ((one(self.topics, rng), None),)
            message = Style.draw(rng).say(_fresh(cell, seen, rng), rng)
            reply = style.reply(_fresh(cell, seen, rng), rng)
            lines.append(Example(message, target=reply, source="simulated"))
        return style, lines

    def _style(self, rng: np.random.Generator) -> Episode:
        style, lines = self.text_person(rng)
        return Episode(
            style.signer, tuple(lines[: self.shots]), tuple(lines[self.shots :]), description=style.in_words()
        )


def _fresh(cells: Sequence[Cell], seen: set[str], rng: np.random.Generator) -> str:
    """Makes a sentence that is not in `seen` yet."""
    topic, mood = one(cells, rng)
    for _ in range(1000):
        text = topic.message(rng, mood)
        if text.lower() not in seen:
            seen.add(text.lower())
            return text
    raise DataError(f"simulated people ran out of new sentences about {topic.name}; lower tasks.shots or tasks.queries")


def _mislabelled(
    examples: Sequence[Example], labels: tuple[str, ...], share: float, rng: np.random.Generator
) -> list[Example]:
    """Swaps the two labels of a share of the examples."""
    other = {labels[0]: labels[1], labels[1]: labels[0]}
    return [
        Example(e.text, label=other[e.label or ""], source=e.source) if rng.random() < share else e for e in examples
    ]


def synthetic(
    *,
    variant: Variant = "people",
    ways: Annotated[int, Bounds(2, 12)] = 5,
    shots: Annotated[int, Bounds(1, 100)] = 5,
    queries: Annotated[int, Bounds(1, 100)] = 5,
    noise: Annotated[float, Bounds(0, 0.5)] = 0.1,
    seed: Natural = 0,
) -> Splits:
    """Simulates tasks without end; people of training, validation and test write about different topics.

    "people" file messages into `ways` folders of their own; "binary" tasks have two classes (topics, questions,
    politeness, time, person, mood, urgency); "mixed" draws either; "style" asks for replies in a person's style.

    Use it when there is no data of many people at hand, or to try a method in minutes.
    Not when data like your users' exists: take `jsonl`, or `mixed` for both.

    variant: what is simulated: people, binary, mixed or style.
    noise: the largest share of a binary task's support with a wrong label.
    seed: seed of which topics are for training, validation and test.
    ways: labels of an episode.
    shots: support examples per label or person.
    queries: query examples per label or person.
    """
    order = [TOPICS[i] for i in np.random.default_rng(seed).permutation(len(TOPICS))]
    parts = order[:TRAIN], order[TRAIN : TRAIN + VALIDATION], order[TRAIN + VALIDATION :]
    train, validation, test = (
        SimulatedTasks(part, variant=variant, ways=ways, shots=shots, queries=queries, noise=noise) for part in parts
    )
    seen = frozenset(task_hash("topic", topic.name) for topic in parts[0] + parts[1])
    return Splits(train, validation, test, seen)
