"""Class means as a state keeps them, and as a readout takes them back."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .microbatches import chunks
from .protocols import Parts
from .types import Batch, Episode, Example


def averaged(sums: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Means (N, d), fp16, and counts (N,) of N classes' summed features: what a state keeps."""
    return {"means": (sums / np.maximum(counts, 1)[:, None]).astype(np.float16), "counts": counts.astype(np.int32)}


def recall(
    state: Mapping[str, np.ndarray], labels: Sequence[str] = (), rehearsed: Sequence[Example] = ()
) -> dict[str, np.ndarray]:
    """What a state kept of its examples, as the readout's memory (1, N, d), (1, N).

    There are places for the new ones of `labels`. `rehearsed` are those of them that stand for themselves: the class
    means count for the others only.
    """
    if "means" not in state:
        return {}
    means, counts = state["means"].astype(np.float32), state["counts"].astype(np.float32)
    new, at_hand = max(0, len(labels) - len(counts)), Counter(e.label for e in rehearsed)
    again = [at_hand[label] for label in labels[: len(counts)]] or 0
    counts = np.maximum(counts - again, 0).astype(np.float32)
    return {"prior": np.pad(means * counts[:, None], ((0, new), (0, 0)))[None], "known": np.pad(counts, (0, new))[None]}


ALONE = 16
"""Rows that hold one example each."""


def remembering(parts: Parts, batch: Batch, memory: Mapping[str, np.ndarray] | None) -> Batch:
    """A batch of T tasks of one person, with what was kept of their earlier examples."""
    tasks = batch["weights"].shape[0]
    return {**batch, **{name: parts.ops.array(np.repeat(value, tasks, 0)) for name, value in (memory or {}).items()}}


def alone(
    parts: Parts, examples: Sequence[Example], labels: tuple[str, ...], memory: Mapping[str, np.ndarray] | None = None
) -> Iterator[Batch]:
    """Batches whose tasks are one example each, of one person's."""
    for some in chunks(examples, ALONE):
        yield remembering(parts, parts.problem.support([Episode("", (e,), (), labels) for e in some]), memory)
