"""Splits by key (group, user or label), so that no test task is a training task."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256

from ..core.bounds import Natural, Share
from ..core.types import Splits, Tasks
from ..data.readers import Record
from ..errors import DataError
from .episodes import EpisodeSettings, LabelledTasks, UserTasks, gather

Choice = list[str] | Share


@dataclass(frozen=True, kw_only=True)
class SplitSettings(EpisodeSettings):
    """The size of an episode, and the keys (groups, users, else labels) that are not for training.

    hold_out: names of the test keys, or their share; null takes a fifth where there are no test files.
    validation: names of the validation keys, or their share.
    seed: seed of the shares.
    """

    hold_out: Choice | None = None
    validation: Choice = 0.1
    seed: Natural = 0


def task_hash(kind: str, name: str) -> str:
    """The hash by which a training task is recognized: 16 hexadecimal digits of sha256("kind:name").

    Kinds: "group"; "label" (a label that is a key, or "group/label"); "name" (a label of a group, without the group).
    """
    return sha256(f"{kind}:{name}".encode()).hexdigest()[:16]


def split(records: Sequence[Record], settings: SplitSettings, tests: Sequence[Record] | None = None) -> Splits:
    """Distributes keys to training, validation and test; shares go by sha256 of (seed, key), not by the rows' order."""
    hold_out, seed = settings.hold_out, settings.seed
    whole = gather(records, settings)
    notes = list(whole.left_out)
    least = (settings.ways or 2) if whole.kind == "label" else 1
    left: Sequence[str] = whole.keys
    if tests is not None:
        if hold_out is not None:
            raise DataError("tasks.hold_out and tasks.test both name the test tasks; remove one of them")
        test: Tasks | None = _apart(whole, gather(tests, settings), notes)
    else:
        test_keys = _pick(left, 0.2 if hold_out is None else hold_out, least, seed, "hold_out")
        left = [key for key in left if key not in test_keys]
        test = whole.only(test_keys) if test_keys else None
    validation_keys = _pick(left, settings.validation, least, seed, "validation", spare=True)
    train_keys = [key for key in left if key not in validation_keys]
    if not train_keys:
        raise DataError("no task is left for training; hold out fewer with tasks.hold_out and tasks.validation")
    train = whole.only(train_keys)
    if not validation_keys:
        notes.append("no task is left for validation: the training tasks are used")
    validation = whole.only(validation_keys) if validation_keys else train
    if test is None:
        notes.append("no task is held out for the test: the validation tasks are used")
    return Splits(
        train, validation, test or validation, training_hashes(train) | training_hashes(validation), tuple(notes)
    )


def training_hashes(tasks: LabelledTasks | UserTasks) -> frozenset[str]:
    """The hashes of these tasks, for a run that trains on them."""
    marks = {task_hash(tasks.kind, key) for key in tasks.keys}
    if isinstance(tasks, LabelledTasks) and tasks.kind == "group":
        for group, labels in tasks.groups.items():
            for label in labels:
                marks |= {task_hash("label", f"{group}/{label}"), task_hash("name", label)}
    return frozenset(marks)


def unseen(records: Sequence[Record], seen: Collection[str]) -> tuple[list[Record], tuple[str, ...]]:
    """Removes the records of training tasks; returns the others, and a note that counts and names the removed."""
    kept: list[Record] = []
    gone: dict[str, int] = {}
    for record in records:
        group, label = record.group, record.example.label
        if group:
            marks = {task_hash("group", group)}
            marks |= {task_hash("label", f"{group}/{label}"), task_hash("label", label)} if label else set()
        else:
            marks = {task_hash("label", label), task_hash("name", label)} if label else set()
        if marks.isdisjoint(seen):
            kept.append(record)
        else:
            gone[group or label or ""] = gone.get(group or label or "", 0) + 1
    named = ", ".join(repr(name) for name in list(gone)[:3]) + (", ..." if len(gone) > 3 else "")
    note = f"left out {len(gone)} tasks ({sum(gone.values())} examples) that training saw: {named}"
    return kept, (note,) if gone else ()


def _apart(
    whole: LabelledTasks | UserTasks, test: LabelledTasks | UserTasks, notes: list[str]
) -> LabelledTasks | UserTasks:
    both = [key for key in test.keys if key in set(whole.keys)]
    if both:
        some = ", ".join(repr(key) for key in both[:3])
        raise DataError(
            f"tasks.test holds {len(both)} of the {whole.kind}s of tasks.train ({some}), but a test task must be new; "
            "leave out tasks.test and name test tasks with tasks.hold_out"
        )
    notes += [f"test: {note}" for note in test.left_out]
    return test


def _pick(
    keys: Sequence[str], choice: Choice, least: int, seed: int, setting: str, *, spare: bool = False
) -> list[str]:
    """Selects the named keys, or a share of them; with `spare`, none if too few would be left for training."""
    if isinstance(choice, list):
        for name in choice:
            if name not in keys:
                near = get_close_matches(name, keys, 3) or keys[:5]
                raise DataError(
                    f"tasks.{setting} names '{name}', which no usable task has; there are: {', '.join(near)}"
                )
        return list(choice)
    count = max(least, round(choice * len(keys))) if choice else 0
    if count and count + least > len(keys):
        if spare:
            return []
        raise DataError(
            f"tasks.{setting} takes {count}, training {least} or more, but the tasks number {len(keys)}; name with "
            f"tasks.group a field that tells tasks apart, add tasks, or set tasks.{setting}: 0"
        )
    return sorted(keys, key=lambda key: sha256(f"{seed}:{key}".encode()).digest())[:count]
