"""Which examples a version has learned, the union of its labels with new ones, and the split of stored examples."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ..core.types import Example
from ..errors import DataError
from ..store import Version

MAX_HASHES = 16_384
"""Hashes that a version stores, 8 bytes each. An example learned before the newest so many counts as new again."""


@dataclass(frozen=True, eq=False)
class LearnedExamples:
    """A set of examples as hashes (n,) uint64, the newest last; the texts are not stored."""

    hashes: np.ndarray

    @classmethod
    def of(cls, version: Version | None) -> "LearnedExamples":
        """The examples that a version has learned, none without a version."""
        return cls(np.zeros(0, np.uint64) if version is None else version.state.learned)

    def contains(self, examples: Iterable[Example]) -> list[Example]:
        """Those of the examples that are in the set."""
        known = set(self.hashes.tolist())
        return [e for e in examples if example_hash(e) in known]

    def add(self, examples: Iterable[Example]) -> "LearnedExamples":
        """The set with more examples, of which the newest MAX_HASHES stay."""
        added = np.array([example_hash(e) for e in examples], np.uint64)
        return LearnedExamples(np.concatenate([self.hashes, added])[-MAX_HASHES:])


def example_hash(example: Example) -> int:
    """A hash of 64 bits over all of an example but its source."""
    return int.from_bytes(blake2b(example.content.encode(), digest_size=8).digest(), "little")


def label_set(previous: Version | None, examples: Sequence[Example]) -> tuple[str, ...]:
    """The user's labels: the version's in their order, then the new ones by name. Raises DataError for only one."""
    known = () if previous is None else previous.labels
    labels = (*known, *sorted({e.label for e in examples if e.label is not None} - set(known)))
    if len(labels) == 1:
        raise DataError(f"all {len(examples)} examples have the label '{labels[0]}'; give examples of another one too")
    return labels


def new_examples(previous: Version | None, examples: Sequence[Example]) -> list[Example]:
    """The examples that the version has not learned. Raises DataError where there are none."""
    known = set(LearnedExamples.of(previous).contains(examples))
    new = [e for e in examples if e not in known]
    if previous is not None and not new:
        name = shlex.quote(previous.user)
        raise DataError(
            f"version {previous.number} of '{previous.user}' has learned all {len(examples)} examples already; add new "
            f"ones, or begin anew after: melpa users remove {name}"
        )
    return new


def split_replay(
    stored: Sequence[Example], given: Sequence[Example], labels: tuple[str, ...]
) -> tuple[list[Example], list[Example]]:
    """Splits the stored examples into a replay set and a held-out set, without those that appear again in `given`.

    The split is by hash, so an example never changes sides.
    """
    again = {example_hash(e) for e in given}
    fitting = [e for e in stored if (e.label in labels if labels else e.label is None) and example_hash(e) not in again]
    return [e for e in fitting if example_hash(e) % 2], [e for e in fitting if not example_hash(e) % 2]
