"""Tasks made of examples, and how episodes are drawn from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ..core.bounds import Bounds, Count
from ..core.types import Episode, Example, Tasks
from ..data.readers import Record
from ..errors import DataError

Labels = Mapping[str, Sequence[Example]]


@dataclass(frozen=True, kw_only=True)
class EpisodeSettings:
    """The size of an episode.

    ways: labels of an episode; null takes all labels of a group.
    shots: support examples per label, or per user where there are no labels.
    queries: query examples per label or user; null takes all that are left.
    """

    ways: Annotated[int, Bounds(2)] | None = 5
    shots: Count = 5
    queries: Count | None = 5

    def draw(self, examples: Sequence[Example], rng: np.random.Generator) -> tuple[list[Example], list[Example]]:
        """Draws `shots` examples as support and `queries` as query, fewer where there are not so many."""
        drawn = draw(examples, len(examples) if self.queries is None else self.shots + self.queries, rng)
        return drawn[: self.shots], drawn[self.shots :]


def draw(examples: Sequence[Example], count: int, rng: np.random.Generator) -> list[Example]:
    """Draws `count` different examples in random order; all of them if there are fewer."""
    return [examples[i] for i in rng.permutation(len(examples))[:count]]


def shuffled(examples: Sequence[Example], rng: np.random.Generator) -> tuple[Example, ...]:
    """Puts examples in random order."""
    return tuple(draw(examples, len(examples), rng))


def _note(left: Sequence[str], total: int, what: str, reason: str) -> tuple[str, ...]:
    named = ", ".join(repr(name) for name in left[:3]) + (", ..." if len(left) > 3 else "")
    return (f"left out {len(left)} of {total} {what} with fewer than {reason}: {named}",) if left else ()


class LabelledTasks(Tasks):
    """Groups of labelled examples; an episode has some labels of one group.

    Groups: {group: {label: examples}}; a single group "" if the keys are labels. Labels with fewer than shots + 1
    examples and groups with fewer than 2 labels are left out, and counted in `left_out`. `descriptions` are by group.
    """

    def __init__(self, groups: Mapping[str, Labels], settings: EpisodeSettings, descriptions: Mapping[str, str] = {}):
        self.settings, self.descriptions = settings, descriptions
        self.ways, shots = settings.ways, settings.shots
        large = {g: {k: tuple(v) for k, v in labels.items() if len(v) > shots} for g, labels in groups.items()}
        self.groups = {g: labels for g, labels in large.items() if len(labels) > 1}
        pairs = [(g, k) for g, labels in groups.items() for k in labels]
        small = [f"{g}/{k}".lstrip("/") for g, k in pairs if k not in large[g]]
        single = [g for g in groups if g and g not in self.groups]
        self.left_out = _note(small, len(pairs), "labels", f"{shots + 1} examples (shots + 1)")
        self.left_out += _note(single, len(groups), "groups", "2 labels left")
        if not self.groups:
            most = max((len(v) for labels in groups.values() for v in labels.values()), default=0)
            raise DataError(
                f"no task has 2 labels with {shots + 1} examples each (ways {self.ways}, shots {shots}): there are "
                f"{len(pairs)} labels, the largest with {most} examples; lower shots or add examples"
            )
        self.names = tuple(self.groups)
        self.size = len(self.names)

    @property
    def kind(self) -> str:
        """The meaning of a key: "label" if the rows have no group, else "group"."""
        return "label" if self.names == ("",) else "group"

    @property
    def keys(self) -> tuple[str, ...]:
        """Labels or groups, which a split distributes."""
        return tuple(self.groups[""]) if self.kind == "label" else self.names

    def only(self, keys: Iterable[str]) -> "LabelledTasks":
        """The same tasks, restricted to some keys."""
        if self.kind == "label":
            chosen: Mapping[str, Labels] = {"": {key: self.groups[""][key] for key in keys}}
        else:
            chosen = {key: self.groups[key] for key in keys}
        return LabelledTasks(chosen, self.settings, self.descriptions)

    def episode(self, rng: np.random.Generator) -> Episode:
        """Draws a group, `ways` of its labels in random order, and `shots` and `queries` examples of each.

        A group with fewer labels gives all of them; a label with fewer examples gives fewer queries.
        """
        group = self.names[rng.integers(len(self.names))]
        labelled = self.groups[group]
        names = list(labelled)
        labels = tuple(names[i] for i in rng.permutation(len(names))[: self.ways])
        support: list[Example] = []
        query: list[Example] = []
        for label in labels:
            some, others = self.settings.draw(labelled[label], rng)
            support += some
            query += others
        name, description = group or ", ".join(sorted(labels)), self.descriptions.get(group, "")
        return Episode(name, shuffled(support, rng), shuffled(query, rng), labels, description)


class UserTasks(Tasks):
    """Examples without labels by user (or group); an episode is one user.

    Users with fewer than shots + 1 examples are left out, and counted in `left_out`. `descriptions` are by user.
    """

    def __init__(
        self, users: Mapping[str, Sequence[Example]], settings: EpisodeSettings, descriptions: Mapping[str, str] = {}
    ):
        self.settings, self.descriptions = settings, descriptions
        shots = settings.shots
        self.users = {user: tuple(lines) for user, lines in users.items() if len(lines) > shots}
        few = [user for user in users if user not in self.users]
        self.left_out = _note(few, len(users), "users", f"{shots + 1} examples (shots + 1)")
        if not self.users:
            most = max(map(len, users.values()), default=0)
            raise DataError(
                f"no user has {shots + 1} examples (shots {shots} and a query): there are {len(users)} "
                f"users, the largest with {most}; lower shots or add examples"
            )
        self.names = tuple(self.users)
        self.size = len(self.names)

    @property
    def kind(self) -> str:
        """A key names a user."""
        return "group"

    @property
    def keys(self) -> tuple[str, ...]:
        """The users."""
        return self.names

    def only(self, keys: Iterable[str]) -> "UserTasks":
        """The same tasks, restricted to some users."""
        chosen = {key: self.users[key] for key in keys}
        return UserTasks(chosen, self.settings, self.descriptions)

    def episode(self, rng: np.random.Generator) -> Episode:
        """Draws a user, `shots` of their examples as support and `queries` (None: all) of the rest."""
        user = self.names[rng.integers(len(self.names))]
        support, query = self.settings.draw(self.users[user], rng)
        return Episode(user, tuple(support), tuple(query), description=self.descriptions.get(user, ""))


def gather(records: Sequence[Record], settings: EpisodeSettings) -> LabelledTasks | UserTasks:
    """Makes tasks of records: labelled ones if the examples have labels, else one task per user.

    Raises DataError if a group has two descriptions.
    """
    labelled = records[0].example.label is not None if records else False
    descriptions = _descriptions(records)
    groups: dict[str, dict[str, list[Example]]] = {}
    for record in records:
        by_label = groups.setdefault(record.group or "", {})
        by_label.setdefault(record.example.label or "", []).append(record.example)
    if labelled:
        return LabelledTasks(groups, settings, descriptions)
    return UserTasks({user: by_label[""] for user, by_label in groups.items()}, settings, descriptions)


def _descriptions(records: Sequence[Record]) -> dict[str, str]:
    """The description of each group, from the rows that have one."""
    found: dict[str, str] = {}
    for record in records:
        group = record.group or ""
        if record.description and found.setdefault(group, record.description) != record.description:
            whom = f"group '{group}'" if group else "all that has no group"
            raise DataError(
                f"{record.example.source}: {whom} is described as '{record.description}', and before as "
                f"'{found[group]}'; describe each group in one way, or rename a field that describes something else"
            )
    return found
