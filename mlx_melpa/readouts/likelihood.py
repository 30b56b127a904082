"""Log-likelihoods of candidate continuations, read only at the positions that matter."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..core.bases import Model
from ..core.engine import Engine
from ..core.types import Array, Batch, Weights
from ..data.tokens import cuts, pad


class Reading(NamedTuple):
    """Tokens of one sequence, and what is read there: (candidate slot, position, token, share) each."""

    tokens: Sequence[int]
    reads: Sequence[tuple[int, int, int, float]]


def collect(tasks: Sequence[Sequence[Reading]], slots: int, padding: int, lanes: int = 1) -> Batch:
    """Arrays of T tasks; `slots` = examples x candidates of a task.

    parts: the sequences, sorted by length and cut so that little is padding, each {"tokens" (T*R, L), "index" (U,) the
    flat positions read there, each once}; which, token, share (T, slots, W), with `which` counted through all parts.
    """
    size = max(len(task) for task in tasks)
    # Padding stands first: it is shortest.
    ordered = [[Reading((padding,), ())] * (size - len(task)) + sorted(task, key=_length) for task in tasks]
    ends = cuts(np.array([[len(reading.tokens) for reading in task] for task in ordered]), lanes)
    found: list[list[list[tuple[int, int, float]]]] = [[[] for _ in range(slots)] for _ in tasks]
    parts: list[dict[str, np.ndarray]] = []
    seen = 0
    for start, end in pairwise([0, *ends]):
        readings = [reading for task in ordered for reading in task[start:end]]
        tokens = pad([reading.tokens for reading in readings], padding)
        wide = tokens.shape[1]
        index = np.unique([i * wide + at for i, reading in enumerate(readings) for _, at, _, _ in reading.reads] or [0])
        for i, reading in enumerate(readings):
            for slot, at, word, share in reading.reads:
                which = seen + int(np.searchsorted(index, i * wide + at))
                found[i // (end - start)][slot].append((which, word, share))
        parts.append({"tokens": tokens, "index": index.astype(np.int32)})
        seen += len(index)
    return {"parts": tuple(parts), **_reads(found, slots)}


def _length(reading: Reading) -> int:
    return len(reading.tokens)


def _reads(found: Sequence[Sequence[Sequence[tuple[int, int, float]]]], slots: int) -> Batch:
    wide = max(1, max(len(slot) for task in found for slot in task))
    which, token = (np.zeros((len(found), slots, wide), np.int32) for _ in range(2))
    shares = np.zeros((len(found), slots, wide), np.float32)
    for t, task in enumerate(found):
        for s, slot in enumerate(task):
            for w, read in enumerate(slot):
                which[t, s, w], token[t, s, w], shares[t, s, w] = read
    return {"which": which, "token": token, "share": shares}


def score(ops: Engine, model: Model, weights: Weights, batch: Batch) -> Array:
    """Sums of share x log-probability per slot, (T, slots), nats."""
    read, of_all = [], []
    for i, part in enumerate(batch["parts"]):
        with ops.lane(i):
            logits = model.logits(weights, part["tokens"], part["index"], part.get("prefix_states"))
            of_all.append(ops.log_sum_exp(logits).reshape(-1))
            read.append(logits.reshape(-1))
    words = ops.take(_joined(ops, read), batch["which"] * logits.shape[-1] + batch["token"], 0)
    return ((words - ops.take(_joined(ops, of_all), batch["which"], 0)) * batch["share"]).sum(-1)


def entropy(ops: Engine, model: Model, weights: Weights, batch: Batch) -> Array:
    """Sums of share x entropy of the next token's distribution per slot, (T, slots), nats."""
    found = []
    for i, part in enumerate(batch["parts"]):
        with ops.lane(i):
            logits = model.logits(weights, part["tokens"], part["index"], part.get("prefix_states"))
            found.append(ops.log_sum_exp(logits).reshape(-1) - (ops.softmax(logits) * logits).sum(-1))
    return (ops.take(_joined(ops, found), batch["which"], 0) * batch["share"]).sum(-1)


def _joined(ops: Engine, parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else ops.concatenate(list(parts), 0)
