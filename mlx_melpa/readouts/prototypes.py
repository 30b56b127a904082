"""Class means of the adapted features of the support set, cosine scores with a learned temperature.

feature f = mean over tokens of the last hidden states; class c's prototype = sum of the features of its support examples.
score(i, c) = exp(s) cos(f_i, prototype_c), where a support example is scored against prototypes that leave it out.
A batch may bring "prior" (T, N, d) and "known" (T, N): class sums and counts of examples that are no longer at hand.
"""

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np

from ..layout import Layout, Segment
from ..settings import Count, Positive
from ..text import Encoder, cuts, pad
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

        parts: passes of examples of like length, each tokens (T*B', L) and pool (T*B', L), which averages over real tokens;
        onehot (T, B, N); given (T, B) marks what makes prototypes; weights (T, B) what is scored. A task's examples are in
        the order of their lengths.
        """
        support = self._batch([[(e, True, True) for e in ep.support] for ep in episodes], episodes)
        both = [[(e, True, False) for e in ep.support] + [(e, False, True) for e in ep.query] for ep in episodes]
        return support, self._batch(both, episodes)

    def _batch(self, marked: list[list[tuple[Example, bool, bool]]], episodes: Sequence[Episode]) -> Batch:
        tasks, size = len(marked), max(len(m) for m in marked)
        ways = max(len(ep.labels) for ep in episodes)
        onehot = np.zeros((tasks, size, ways), np.float32)
        given, weights = np.zeros((tasks, size), np.float32), np.zeros((tasks, size), np.float32)
        sequences: list[list[tuple[int, ...]]] = []
        for t, (examples, episode) in enumerate(zip(marked, episodes, strict=True)):
            place = {label: c for c, label in enumerate(episode.labels)}
            encoded = sorted(((self.encoder.whole(m[0].text), m) for m in examples), key=lambda pair: len(pair[0]))
            missing = size - len(examples)  # padding stands first: it is shortest
            sequences.append([(self.encoder.pad,)] * missing + [tokens for tokens, _ in encoded])
            for i, (_, (example, is_given, is_scored)) in enumerate(encoded, missing):
                if example.label in place:
                    onehot[t, i, place[example.label]] = 1
                given[t, i], weights[t, i] = is_given, is_scored
        ends = cuts(np.array([[len(s) for s in task] for task in sequences]))
        parts = tuple(
            self._part([s for task in sequences for s in task[a:b]]) for a, b in zip([0, *ends], ends, strict=False)
        )
        return {"parts": parts, "onehot": onehot, "given": given, "weights": weights}

    def _part(self, sequences: list[tuple[int, ...]]) -> Batch:
        tokens = pad(sequences, self.encoder.pad)
        lengths = np.array([len(s) for s in sequences])
        pool = (np.arange(tokens.shape[1]) < lengths[:, None]) / lengths[:, None]
        return {"tokens": tokens, "pool": pool.astype(np.float32)}

    def ask(self, examples: Sequence[Example], labels: tuple[str, ...]) -> Batch:
        """One task of examples to be answered, with no support: what decides is the batch's prior.

        order (n,): which example stands at each place.
        """
        batch = self._batch([[(e, False, True) for e in examples]], [Episode("", (), tuple(examples), labels)])
        return {**batch, "order": np.argsort([len(self.encoder.whole(e.text)) for e in examples], kind="stable")}

    def memory(self, model: Any, rows: Array, batch: Batch) -> Batch:
        """What answers later without the support at hand: its class sums and counts."""
        sums, member = self.means(self.features(model, rows, batch), batch)
        return {"prior": sums, "known": member.sum(1)}

    def features(self, model: Any, rows: Array, batch: Batch) -> Array:
        """Mean hidden states (T, B, d), float32."""
        pooled = []
        for part in batch["parts"]:
            hidden = self.ops.cast(model.hidden(rows, part["tokens"], part.get("start")), part["pool"])
            mean = (hidden * part["pool"].reshape(*part["pool"].shape, 1)).sum(1)
            pooled.append(mean.reshape(rows.shape[0], -1, mean.shape[-1]))
        return self.ops.concatenate(pooled, 1)

    def means(self, features: Array, batch: Batch) -> tuple[Array, Array]:
        """Class sums (T, N, d) of what is given, and which examples they hold (T, B, N)."""
        member = batch["onehot"] * batch["given"].reshape(*batch["given"].shape, 1)
        return self.ops.swap(member) @ features, member

    def scores(self, model: Any, rows: Array, batch: Batch) -> Array:
        """Logits (T, B, N), each example left out of its own class; classes without examples get -1e9."""
        ops = self.ops
        f = self.features(model, rows, batch)
        sums, member = self.means(f, batch)
        count = member.sum(1)
        if "prior" in batch:
            sums, count = sums + batch["prior"], count + batch["known"]
        own = (f * f).sum(-1).reshape(*f.shape[:2], 1)
        dots = f @ ops.swap(sums)
        size = (sums * sums).sum(-1).reshape(sums.shape[0], 1, -1) + member * (own - 2 * dots)
        scale = ops.sqrt(ops.maximum(own, TINY)) * ops.sqrt(ops.maximum(size, TINY))
        held = self.ops.minimum(count, 1).reshape(member.shape[0], 1, -1)
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
