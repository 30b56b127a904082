"""Class means: from a readout's memory to a user's state, and back into a batch."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .microbatches import chunks
from .protocols import Components
from .types import Batch, Episode, Example


def average(sums: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """A state's `means` (N, d), fp16, and `counts` (N,) of N classes' summed features."""
    return {"means": (sums / np.maximum(counts, 1)[:, None]).astype(np.float16), "counts": counts.astype(np.int32)}


def load_class_means(
    state: Mapping[str, np.ndarray], labels: Sequence[str] = (), replayed: Sequence[Example] = ()
) -> dict[str, np.ndarray]:
    """The readout's memory of a state: `class_sums` (1, N, d) and `class_counts` (1, N); {} without class means.

    Labels of `labels` that the state lacks get zeros. `replayed` examples are in the support set again, so they are
    subtracted from the counts.
    """
    if "means" not in state:
        return {}
    means, counts = state["means"].astype(np.float32), state["counts"].astype(np.float32)
    new, at_hand = max(0, len(labels) - len(counts)), Counter(e.label for e in replayed)
    again = [at_hand[label] for label in labels[: len(counts)]] or 0
    counts = np.maximum(counts - again, 0).astype(np.float32)
    sums = np.pad(means * counts[:, None], ((0, new), (0, 0)))
    return {"class_sums": sums[None], "class_counts": np.pad(counts, (0, new))[None]}


BATCH_SIZE = 16
"""Tasks of a batch whose tasks are one example each."""


def with_memory(parts: Components, batch: Batch, memory: Mapping[str, np.ndarray] | None) -> Batch:
    """A batch of T tasks of one user, with the readout's memory of their earlier examples."""
    tasks = batch["weights"].shape[0]
    return {**batch, **{name: parts.ops.array(np.repeat(value, tasks, 0)) for name, value in (memory or {}).items()}}


def single_examples(
    parts: Components,
    examples: Sequence[Example],
    labels: tuple[str, ...],
    memory: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Batch]:
    """Batches of one user's examples, each example a task of its own."""
    for some in chunks(examples, BATCH_SIZE):
        yield with_memory(parts, parts.problem.support([Episode("", (e,), (), labels) for e in some]), memory)
