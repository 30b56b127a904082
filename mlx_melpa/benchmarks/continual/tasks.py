"""Task streams: the groups of an example file as tasks that come one after another."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count

import numpy as np

from ...config.recipe import Recipe
from ...core.types import Example
from ...data.readers import Record, read_examples
from ...errors import DataError, RecipeError
from ...tasks.episodes import draw
from ...tasks.splits import unseen

TUNING = 0.25
"""The share of a label's examples that are reserved for the tuning stream."""
MISSING = "-"
"""The mark of an unknown label (test parts of GLUE)."""


@dataclass(frozen=True)
class Task:
    """One task of a stream; train and test are disjoint. `labels`: the candidates in a fixed order, none for texts."""

    name: str
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...]


@dataclass(frozen=True)
class Stream:
    """The tasks {name: {label: examples}} in the file's order, and the number of examples drawn per label.

    Texts without labels have the label "".
    """

    groups: dict[str, dict[str, tuple[Example, ...]]]
    shots: int
    queries: int
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """True if the tasks are classification, False if texts are to be written."""
        return not all(list(labels) == [""] for labels in self.groups.values())

    def order(self, number: int) -> list[str]:
        """The task names in an order: 0 is the file's, the others are permutations drawn with that seed."""
        names = list(self.groups)
        return [names[i] for i in np.random.default_rng(number).permutation(len(names))] if number else names

    def task(self, name: str, seed: int, tuning: bool = False) -> Task:
        """Draws `shots` and `queries` examples a label; they depend on seed and name, not on the order.

        A tuning task draws from the reserved examples, which no other task sees.
        """
        groups = self.groups[name]
        train: list[Example] = []
        test: list[Example] = []
        rng = np.random.default_rng([seed, int(sha256(name.encode()).hexdigest()[:8], 16)])
        for examples in groups.values():
            reserved = reserved_for_tuning(len(examples))
            drawn = draw(examples[:reserved] if tuning else examples[reserved:], self.shots + self.queries, rng)
            # A small tuning part is halved, so that something is left to measure on.
            count = min(self.shots, len(drawn) // 2) if tuning else self.shots
            train += drawn[:count]
            test += drawn[count:]
        return Task(name, tuple(filter(None, groups)), tuple(draw(train, len(train), rng)), tuple(test))


def reserved_for_tuning(count: int) -> int:
    """The number of a label's examples for tuning: a share of them, at least 4 (prototypes need two a class)."""
    return max(4, int(TUNING * count))


def load_stream(
    recipe: Recipe,
    *,
    shots: int | None = None,
    queries: int | None = None,
    labels_per_task: int | None = None,
    names: Sequence[str] = (),
    seen: Collection[str] = (),
    texts: bool = False,
) -> Stream:
    """The stream of a recipe's task file, split by `tasks.group`, each group in tasks of `labels_per_task` labels.

    names: tasks, or whole groups, in this order; all by default. shots, queries: the recipe's by default. seen: hashes
    of examples to leave out. texts: allow examples without labels, which are cut in the file's order. Raises
    RecipeError for tasks that are no file, DataError for fewer than two tasks.
    """
    kind, settings = recipe.kind("tasks"), recipe.settings("tasks")
    if kind != "jsonl":
        raise RecipeError(f"recipe {recipe.name}: a stream needs tasks of kind jsonl, found '{kind}'; name a file")
    records = read_examples(settings["train"], group=settings["group"], label=settings["label"])
    kept, gone = unseen(records, seen)
    stream = stream_of_records(
        kept,
        shots=shots or settings["shots"],
        queries=queries or settings["queries"] or 10,
        labels_per_task=labels_per_task,
        names=names,
        source=str(settings["train"]),
        texts=texts,
    )
    return replace(stream, notes=(*gone, *stream.notes))


def stream_of_records(
    records: Sequence[Record],
    *,
    shots: int,
    queries: int,
    labels_per_task: int | None = None,
    names: Sequence[str] = (),
    source: str = "the examples",
    texts: bool = False,
) -> Stream:
    """The stream of records; labels with too few examples and groups with one label are left out with a note."""
    labelled = not texts or any(record.example.label is not None for record in records)
    if labelled and any(record.example.label is None for record in records):
        raise DataError(f"{source}: a stream needs labelled examples; name the field with --set tasks.label=FIELD")
    known = [record for record in records if record.example.label != MISSING]
    groups: dict[str, dict[str, list[Example]]] = {}
    parts: dict[str, dict[str, None]] = {}
    for record, group in zip(known, _groups(known, labels_per_task), strict=True):
        groups.setdefault(group, {}).setdefault(record.example.label or "", []).append(record.example)
        parts.setdefault(record.group or "", {})[group] = None
    unknown = [name for name in names if name not in groups and name not in parts]
    if unknown:
        raise DataError(f"{source}: has no task '{unknown[0]}'; there are: {', '.join(groups)}")
    wanted = [one for name in names for one in ([name] if name in groups else parts[name])] or list(groups)
    kept: dict[str, dict[str, tuple[Example, ...]]] = {}
    for name in wanted:
        # A fixed permutation, so that the same examples are reserved for tuning in every call.
        large = {k: tuple(draw(v, len(v), np.random.default_rng(0))) for k, v in groups[name].items()}
        large = {k: v for k, v in large.items() if len(v) - reserved_for_tuning(len(v)) > shots}
        if len(large) > (1 if labelled else 0):
            kept[name] = large
    if len(kept) < 2:
        of = "of two labels with" if labelled else "of"
        raise DataError(
            f"{source}: gives {len(kept)} tasks, and a stream needs two or more, each {of} {shots + 5} examples; name "
            "the field that tells tasks apart with --set tasks.group=FIELD, or cut groups with --labels-per-task"
        )
    before, after = (sum(len(part[name]) for name in part) for part in ({n: groups[n] for n in wanted}, kept))
    what = "labels: too few examples, or alone in their task" if labelled else "tasks: too few texts"
    notes = [f"left out {before - after} of {before} {what}"] if after < before else []
    gone = len(records) - len(known)
    notes += [f"left out {gone} examples whose label is missing ('{MISSING}')"] if gone else []
    return Stream(kept, shots, queries, tuple(notes))


def _groups(records: Sequence[Record], labels_per_task: int | None) -> list[str]:
    """Each record's task: its group, or a chunk of its group's labels in the order of their hashes.

    Texts without labels are cut in the file's order.
    """
    if labels_per_task is None:
        return [record.group or "" for record in records]
    if all(record.example.label is None for record in records):
        places = {group: count() for group in {record.group for record in records}}
        return [f"{record.group or 'part'} {next(places[record.group]) // labels_per_task}" for record in records]
    pairs = {(record.group or "", record.example.label or "") for record in records}
    chunks: dict[tuple[str, str], str] = {}
    for group in {group for group, _ in pairs}:
        labels = sorted((k for g, k in pairs if g == group), key=lambda k: sha256(k.encode()).digest())
        chunks |= {(group, label): f"{group or 'chunk'} {i // labels_per_task}" for i, label in enumerate(labels)}
    return [chunks[record.group or "", record.example.label or ""] for record in records]
