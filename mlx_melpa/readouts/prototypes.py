"""Class means of the adapted features of the support set, cosine scores with a learned temperature.

feature f = mean over tokens of the last hidden states; class c's prototype = sum of the features of its support examples.
score(i, c) = exp(s) cos(f_i, prototype_c), where a support example is scored against prototypes that leave it out.
"""

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np

from ..layout import Layout, Segment
from ..settings import Count, Positive
from ..text import Encoder, pad
from ..types import Array, Batch, Episode, Example

TINY = 1e-6


class Prototypes:
    """Snell et al. 2017 on adapted features, with the temperature as one more number of the row."""

    classifies = True

    def __init__(self, ops: Any, tokenizer: Any, temperature: float, max_length: int):
        self.ops, self.encoder = ops, Encoder(tokenizer, max_length)
        self.layout = Layout([Segment("readout.log_scale", (1,), ("constant", log(temperature)))])

    def encode(self, episodes: Sequence[Episode]) -> tuple[Batch, Batch]:
        """Support and query of T episodes as NumPy arrays; the query batch brings its support along, unscored.

        tokens (T*B, L); pool (T*B, L) averages over real tokens; onehot (T, B, N); given (T, B) marks what makes
        prototypes; weights (T, B) what is scored.
        """
        support = self._batch([[(e, True, True) for e in ep.support] for ep in episodes], episodes)
        both = [[(e, True, False) for e in ep.support] + [(e, False, True) for e in ep.query] for ep in episodes]
        return support, self._batch(both, episodes)

    def _batch(self, marked: list[list[tuple[Example, bool, bool]]], episodes: Sequence[Episode]) -> Batch:
        tasks, size = len(marked), max(len(m) for m in marked)
        ways = max(len(ep.labels) for ep in episodes)
        onehot = np.zeros((tasks, size, ways), np.float32)
        given, weights = np.zeros((tasks, size), np.float32), np.zeros((tasks, size), np.float32)
        sequences: list[Sequence[int]] = [(self.encoder.pad,)] * (tasks * size)
        for t, (examples, episode) in enumerate(zip(marked, episodes, strict=True)):
            place = {label: c for c, label in enumerate(episode.labels)}
            for i, (example, is_given, is_scored) in enumerate(examples):
                sequences[t * size + i] = self.encoder.whole(example.text)
                if example.label in place:
                    onehot[t, i, place[example.label]] = 1
                given[t, i], weights[t, i] = is_given, is_scored
        tokens = pad(sequences, self.encoder.pad)
        lengths = np.array([len(s) for s in sequences])
        pool = (np.arange(tokens.shape[1]) < lengths[:, None]) / lengths[:, None]
        return {"tokens": tokens, "pool": pool.astype(np.float32), "onehot": onehot, "given": given, "weights": weights}

    def features(self, model: Any, rows: Array, batch: Batch) -> Array:
        """Mean hidden states (T, B, d), float32."""
        hidden = model.hidden(rows, batch["tokens"], batch.get("start"))
        pooled = (self.ops.cast(hidden, batch["pool"]) * batch["pool"].reshape(*batch["pool"].shape, 1)).sum(1)
        return pooled.reshape(rows.shape[0], -1, pooled.shape[-1])

    def means(self, features: Array, batch: Batch) -> tuple[Array, Array]:
        """Class sums (T, N, d) of what is given, and which examples they hold (T, B, N)."""
        member = batch["onehot"] * batch["given"].reshape(*batch["given"].shape, 1)
        return self.ops.swap(member) @ features, member

    def scores(self, model: Any, rows: Array, batch: Batch) -> Array:
        """Logits (T, B, N), each example left out of its own class; classes without examples get -1e9."""
        ops = self.ops
        f = self.features(model, rows, batch)
        sums, member = self.means(f, batch)
        own = (f * f).sum(-1).reshape(*f.shape[:2], 1)
        dots = f @ ops.swap(sums)
        size = (sums * sums).sum(-1).reshape(sums.shape[0], 1, -1) + member * (own - 2 * dots)
        scale = ops.sqrt(ops.maximum(own, TINY)) * ops.sqrt(ops.maximum(size, TINY))
        held = self.ops.minimum(member.sum(1), 1).reshape(member.shape[0], 1, -1)
        temperature = ops.exp(rows[:, -1]).reshape(-1, 1, 1)
        return temperature * (dots - member * own) / scale * held + (held - 1) * 1e9

    def losses(self, model: Any, rows: Array, batch: Batch) -> Array:
        """Mean cross-entropy (T,) of what is scored, nats."""
        z = self.scores(model, rows, batch)
        each = (self.ops.log_sum_exp(z) - (z * batch["onehot"]).sum(-1).reshape(*z.shape[:2], 1)).reshape(*z.shape[:2])
        return (each * batch["weights"]).sum(-1) / self.ops.maximum(batch["weights"].sum(-1), 1)


def prototypes(ops: Any, tokenizer: Any, *, temperature: Positive = 10.0, max_length: Count = 128) -> Prototypes:
    """Builds the readout; `temperature` is where exp(s) begins, `max_length` cuts texts, in tokens."""
    return Prototypes(ops, tokenizer, temperature, max_length)
