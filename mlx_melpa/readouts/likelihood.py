"""Log-likelihoods of candidate continuations, read only at the positions that matter."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..text import pad
from ..types import Array, Batch


class Reading(NamedTuple):
    """Tokens of one sequence, and what is read there: (candidate slot, position, token, share) each."""

    tokens: Sequence[int]
    reads: Sequence[tuple[int, int, int, float]]


def collect(tasks: Sequence[Sequence[Reading]], slots: int, padding: int) -> Batch:
    """Arrays of T tasks with R sequences each; `slots` = examples x candidates of a task.

    tokens (T*R, L); index (U,) the flat positions read, each once; which, token, share (T, slots, W).
    """
    rows = max(len(task) for task in tasks)
    sequences = [r.tokens for task in tasks for r in (*task, *[Reading((padding,), ())] * (rows - len(task)))]
    tokens = pad(sequences, padding)
    length = tokens.shape[1]
    found: list[list[list[tuple[int, int, float]]]] = [[[] for _ in range(slots)] for _ in tasks]
    for t, task in enumerate(tasks):
        for r, reading in enumerate(task):
            for slot, position, word, share in reading.reads:
                found[t][slot].append(((t * rows + r) * length + position, word, share))
    index = np.unique([at for task in found for slot in task for at, _, _ in slot])
    wide = max(1, max(len(slot) for task in found for slot in task))
    which, token = (np.zeros((len(tasks), slots, wide), np.int32) for _ in range(2))
    shares = np.zeros((len(tasks), slots, wide), np.float32)
    for t, task_found in enumerate(found):
        for s, slot_found in enumerate(task_found):
            for w, (at, word, share) in enumerate(slot_found):
                which[t, s, w], token[t, s, w], shares[t, s, w] = np.searchsorted(index, at), word, share
    return {"tokens": tokens, "index": index.astype(np.int32), "which": which, "token": token, "share": shares}


def score(ops: Any, model: Any, rows: Array, batch: Batch) -> Array:
    """Sums of share x log-probability per slot, (T, slots), nats."""
    logits = model.logits(rows, batch["tokens"], batch["index"], batch.get("start"))
    logp = logits - ops.log_sum_exp(logits)
    flat = batch["which"] * logits.shape[-1] + batch["token"]
    return (ops.take(logp.reshape(-1), flat, 0) * batch["share"]).sum(-1)
