"""Types that all parts share: examples, episodes, sets of tasks, batches. No behaviour."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

Array = Any
"""An array of the engine in use: mlx.core.array or torch.Tensor."""

Tree = Any
"""Nested dicts and tuples of arrays."""


@dataclass(frozen=True)
class Example:
    """One example as text. `text` is what the model reads, `target` what it should write, `label` its class.

    Classification examples carry `label` and no `target`; completions, dialogues and people's lines carry `target`.
    `messages` holds a dialogue as ((role, content), ...): every assistant turn is supervised. `source` says where it
    stands, for people: it makes no difference.
    """

    text: str
    target: str | None = None
    label: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    source: str = field(default="", compare=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """Its texts, those that are not empty: what is read, the target, the turns of a dialogue."""
        return tuple(text for text in (self.text, self.target, *(turn for _, turn in self.messages)) if text)

    @property
    def content(self) -> str:
        """All of it but its source as one text, by which it is recognized."""
        return repr((self.text, self.target, self.label, self.messages))

    @property
    def fields(self) -> dict[str, object]:
        """Its fields by name, those that are not empty, without the source."""
        return {name: value for name, value in vars(self).items() if value and name != "source"}

    @property
    def nbytes(self) -> int:
        """Its size in bytes: texts and label as UTF-8."""
        return sum(len(text.encode()) for text in (*self.texts, self.label or ""))


@dataclass(frozen=True)
class Episode:
    """One sampled task: support examples to adapt from, query examples to evaluate on, and the labels to choose from.

    `description` describes the user or the task; "" where there is none.
    """

    name: str
    support: tuple[Example, ...]
    query: tuple[Example, ...]
    labels: tuple[str, ...] = ()
    description: str = field(default="", repr=False)  # folders of results are known by a hash over what is shown


AnyEpisode = Any
"""An episode of a problem's own kind: `Episode`, the points of a curve, or a tuple of episodes for a stream."""


class Tasks(Protocol):
    """A set of tasks of one split; those without end, as simulated ones are, have neither a size nor keys."""

    size: int | None = None
    """The number of tasks."""
    ways: int | None = None
    """Labels of an episode; None for all labels of its task, or where there are none."""

    @property
    def kind(self) -> str:
        """The meaning of a key: "group" or "label"; "" without keys."""
        return ""

    @property
    def keys(self) -> tuple[str, ...] | None:
        """The keys that a split or a stream may draw from."""
        return None

    def only(self, keys: Iterable[str]) -> "Tasks":
        """The same tasks cut down to some keys."""
        return self

    def episode(self, rng: np.random.Generator) -> AnyEpisode:
        """Draws one episode; all randomness comes from `rng`."""
        ...


@dataclass(frozen=True)
class Splits:
    """The tasks for training, validation and test, with the hashes of all tasks that training may see."""

    train: Tasks
    validation: Tasks
    test: Tasks
    training_hashes: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


SCALE = "readout.log_scale"
"""The weight, last in a row, that holds a user's log temperature."""
Weights = Mapping[str, Array]
"""Named weights in use: a user's own (T, *shape), shared ones (1, *shape)."""
Batch = dict[str, Any]
"""Arrays only, of one fixed set of names for a problem. Always there: "weights" (T, B), 0 where an example pads."""


Json = dict[str, Any]
"""A JSON object."""


State = Tree
"""The state of an adaptation: {"rows": (T, P), "memory": the rule's, "carry": the regularizer's}."""
