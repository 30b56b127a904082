"""What a person's last version knows of earlier examples, and which kept ones are rehearsed or judge."""

import shlex
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from ..core.types import Example
from ..errors import DataError
from ..store import Version

MARKS = 16_384
"""The newest marks that a version holds, 8 bytes each: an example learned before all of these counts as new again."""


def merged(previous: Version | None, examples: Sequence[Example]) -> tuple[str, ...]:
    """The person's labels: those of their version in its order, then the new ones by name; DataError for just one."""
    known = () if previous is None else previous.labels
    labels = (*known, *sorted({e.label for e in examples if e.label is not None} - set(known)))
    if len(labels) == 1:
        raise DataError(f"all {len(examples)} examples have the label '{labels[0]}'; give examples of another one too")
    return labels


def carried(previous: Version | None) -> dict[str, np.ndarray]:
    """What the version's regularizer carries to the next task, by name; {} where there is none."""
    state = {} if previous is None else previous.state
    return {name.removeprefix("carry."): array for name, array in state.items() if name.startswith("carry.")}


def halves(
    kept: Sequence[Example], given: Sequence[Example], labels: tuple[str, ...]
) -> tuple[list[Example], list[Example]]:
    """Kept examples to rehearse, and kept ones that are held out to judge by, left out what is `given` once more.

    An example is of one half for good, by its hash: what judges is never rehearsed.
    """
    again = {_mark(e) for e in given}
    fitting = [e for e in kept if (e.label in labels if labels else e.label is None) and _mark(e) not in again]
    return [e for e in fitting if _mark(e) % 2], [e for e in fitting if not _mark(e) % 2]


def taught(version: Version | None, examples: Sequence[Example]) -> list[Example]:
    """Those of the examples that the version has learned: after a rollback there may be kept ones that it has not."""
    known = set() if version is None else set(version.state.get("learned", np.zeros(0, np.uint64)).tolist())
    return [e for e in examples if _mark(e) in known]


def unlearned(previous: Version | None, examples: Sequence[Example]) -> list[Example]:
    """The examples that the version has not learned yet; raises DataError where there are none."""
    there = set(taught(previous, examples))
    new = [e for e in examples if e not in there]
    if previous is not None and not new:
        name = shlex.quote(previous.user)
        raise DataError(
            f"version {previous.number} of '{previous.user}' has learned all {len(examples)} examples already; add new "
            f"ones, or begin anew after: melpa users remove {name}"
        )
    return new


def learned(previous: Version | None, new: Sequence[Example]) -> np.ndarray:
    """Marks (n,) uint64 of the examples learned so far, the newest last: hashes, no texts."""
    known = np.zeros(0, np.uint64) if previous is None else previous.state.get("learned", np.zeros(0, np.uint64))
    return np.concatenate([known, np.array([_mark(e) for e in new], np.uint64)])[-MARKS:]


def _mark(example: Example) -> int:
    told = repr((example.text, example.target, example.label, example.messages))
    return int.from_bytes(blake2b(told.encode(), digest_size=8).digest(), "little")
