"""A user's own examples, stored only on request: a uniform random sample of those offered.

Algorithm R (Vitter 1985): the first n are kept; the i-th after that takes a random place of i, and is kept if that is
one of the n. Draws are keyed by i, so that many small calls keep what one large call would.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import Example
from .database import Database


@dataclass(frozen=True)
class Reservoir:
    """A sample of a user's examples: at most `size` of the `seen` ones."""

    size: int = 0
    examples: Sequence[Example] = ()
    seen: int = 0


def place(seen: int, filled: int, size: int, seed: int = 0) -> int | None:
    """The slot of the example that comes after `seen` others, None if it is not stored."""
    if filled < size:
        return filled
    slot = int(np.random.default_rng([seed, 4, seen]).integers(seen + 1))
    return slot if slot < size else None


def read(db: Database, owner: int) -> Reservoir:
    """The reservoir of a user, empty where there is none."""
    found = db.one("SELECT size, seen FROM reservoirs WHERE user = ?", owner)
    return Reservoir(found["size"], tuple(map(_example, _texts(db, owner))), found["seen"]) if found else Reservoir()


def offer(db: Database, owner: int, offered: Reservoir) -> None:
    """Offers examples to a user's reservoir, which gets the size of `offered`; stored ones are skipped.

    A smaller size than before drops a random part. A larger one fills up first: the next examples are likelier to stay.
    """
    size, seen, slots = offered.size, read(db, owner).seen, _texts(db, owner)
    if len(slots) > size:
        stay = np.random.default_rng([0, 5, seen]).choice(len(slots), size, replace=False)
        slots = [slots[i] for i in sorted(stay)]
    for text in map(_text, offered.examples):
        if text in slots:
            continue
        slot = place(seen, len(slots), size)
        seen += 1
        if slot is not None:
            slots[slot : slot + 1] = [text]
    forget(db, owner)
    db.insert("reservoirs", {"user": owner, "size": size, "seen": seen})
    for i, text in enumerate(slots):
        db.insert("kept", {"user": owner, "slot": i, "example": text})


def forget(db: Database, owner: int) -> None:
    """Deletes a user's reservoir."""
    db.all("DELETE FROM kept WHERE user = ?", owner)
    db.all("DELETE FROM reservoirs WHERE user = ?", owner)


def _texts(db: Database, owner: int) -> list[str]:
    return [row["example"] for row in db.all("SELECT example FROM kept WHERE user = ? ORDER BY slot", owner)]


def _text(example: Example) -> str:
    return json.dumps(example.fields, ensure_ascii=False, separators=(",", ":"))


def _example(text: str) -> Example:
    fields = {"text": "", **json.loads(text)}
    return Example(**{**fields, "messages": tuple((role, text) for role, text in fields.get("messages", ()))})
