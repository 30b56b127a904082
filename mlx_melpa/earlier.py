"""What a person's last version knows of earlier examples: their labels, class means, and marks of what was learned."""

import shlex
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from .errors import DataError
from .store import Version
from .types import Example


def merged(previous: Version | None, examples: Sequence[Example]) -> tuple[str, ...]:
    """The person's labels: those of their version in its order, then the new ones by name; DataError for just one."""
    known = () if previous is None else previous.labels
    labels = (*known, *sorted({e.label for e in examples if e.label is not None} - set(known)))
    if len(labels) == 1:
        raise DataError(f"all {len(examples)} examples have the label '{labels[0]}'; give examples of another one too")
    return labels


def recall(previous: Version | None, labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """What a version kept of its examples, as the readout's memory (1, N, d), (1, N) with places for new labels."""
    if previous is None or "means" not in previous.state:
        return {}
    means, counts = previous.state["means"].astype(np.float32), previous.state["counts"].astype(np.float32)
    new = len(labels) - len(counts)
    return {"prior": np.pad(means * counts[:, None], ((0, new), (0, 0)))[None], "known": np.pad(counts, (0, new))[None]}


def unlearned(previous: Version | None, examples: Sequence[Example]) -> list[Example]:
    """The examples that the version has not learned yet; raises DataError where there are none."""
    known = set() if previous is None else set(previous.state.get("learned", np.zeros(0, np.uint64)).tolist())
    new = [e for e in examples if _mark(e) not in known]
    if previous is not None and not new:
        name = shlex.quote(previous.user)
        raise DataError(
            f"version {previous.number} of '{previous.user}' has learned all {len(examples)} examples already; add new "
            f"ones, or begin anew after: melpa users remove {name}"
        )
    return new


def learned(previous: Version | None, new: Sequence[Example]) -> np.ndarray:
    """Marks (n,) uint64 of all examples learned so far: hashes, no texts."""
    known = np.zeros(0, np.uint64) if previous is None else previous.state.get("learned", np.zeros(0, np.uint64))
    return np.concatenate([known, np.array([_mark(e) for e in new], np.uint64)])


def _mark(example: Example) -> int:
    told = repr((example.text, example.target, example.label, example.messages))
    return int.from_bytes(blake2b(told.encode(), digest_size=8).digest(), "little")
