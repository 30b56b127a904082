"""Class means of the adapted features of the support set, cosine scores with a learned temperature.

feature f = ([u(sum_t a_t h_t), u(mean_t l_t)] - center) metric, with h the last hidden states, l the output of the
first block where that is frozen (closest to words; else left out), u scaling to length 1, a = softmax_t(h_t
. attention) over an example's tokens; class c's prototype = sum of the features of its support examples;
score(i, c) = exp(s) cos(f_i, prototype_c), where a support example is scored against prototypes that leave it out.
At a random start attention and center are 0 and the metric is the unit matrix: plain means. Meta-training begins from
the metric that whitens the variance within classes (`init_metric`), as linear discriminant analysis does. The run
learns all three, and all users share them.
A batch may bring class_sums (T, N, d) and class_counts (T, N) of earlier examples that are not in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np

from ..core.bases import Model, Readout, Tokenizer
from ..core.bounds import Count, Natural, Positive
from ..core.engine import Engine
from ..core.layout import Segment
from ..core.types import SCALE, Array, Batch, Episode, Example, Weights
from ..data.tokens import Encoder, cuts, pad
from .temperature import temperature_change

ATTENTION, CENTER, METRIC = "readout.attention", "readout.center", "readout.metric"
TINY = 1e-6
SHRINK = 0.1


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """Settings of the features and of the temperature.

    temperature: the factor of the scores, before it is fitted; larger is surer.
    metric: learned weighs tokens and features by meta-training; plain takes plain means.
    metric_episodes: training episodes from which the metric's start is computed; 0 starts from the unit matrix.
    max_length: texts are cut there, in tokens.
    """

    temperature: Positive = 10.0
    metric: Literal["learned", "plain"] = "learned"
    metric_episodes: Natural = 100
    max_length: Count = 128


class Prototypes(Readout):
    """Snell et al. 2017 on adapted features, with the temperature as one more number of the row."""

    verify_with = ({"temperature": 4.0},)
    classifies = True

    def __init__(self, ops: Engine, tokenizer: Tokenizer, settings: FeatureSettings):
        self.ops, self.settings, self.encoder = ops, settings, Encoder(tokenizer, settings.max_length)
        self.metric_episodes = settings.metric_episodes if settings.metric == "learned" else 0

    def segments(self, width: int, frozen: bool) -> tuple[Segment, ...]:
        """The log temperature, a user's own; attention, center and metric where they are learned, shared."""
        scale = Segment(SCALE, (1,), ("constant", log(self.settings.temperature)))
        if self.settings.metric == "plain":
            return (scale,)
        wide = width * (1 + frozen)
        return (
            Segment(ATTENTION, (width,), shared=True),
            Segment(CENTER, (wide,), shared=True),
            Segment(METRIC, (wide, wide), ("identity", 1.0), shared=True),
            scale,
        )

    def support(self, episodes: Sequence[Episode]) -> Batch:
        """The support sets of T episodes: each example is scored against prototypes that leave it out."""
        return self._batch([[(e, True, True) for e in ep.support] for ep in episodes], episodes)

    def query(self, episodes: Sequence[Episode]) -> Batch:
        """The query sets of T episodes, and with them the support sets, which are not scored."""
        both = [[(e, True, False) for e in ep.support] + [(e, False, True) for e in ep.query] for ep in episodes]
        return self._batch(both, episodes)

    def _batch(self, marked: list[list[tuple[Example, bool, bool]]], episodes: Sequence[Episode]) -> Batch:
        """NumPy arrays of examples; each comes with two flags, in the support set and scored.

        parts: passes of examples of like length, each tokens (T*B', L) and pool (T*B', L), which averages over real
        tokens; onehot (T, B, N); in_support (T, B) is 1 for examples that make prototypes, weights (T, B) for scored
        ones. A task's examples are in the order of their lengths.
        """
        tasks, size = len(marked), max(len(m) for m in marked)
        ways = max(len(ep.labels) for ep in episodes)
        onehot = np.zeros((tasks, size, ways), np.float32)
        in_support, weights = np.zeros((tasks, size), np.float32), np.zeros((tasks, size), np.float32)
        sequences: list[list[tuple[int, ...]]] = []
        for t, (examples, episode) in enumerate(zip(marked, episodes, strict=True)):
            place = {label: c for c, label in enumerate(episode.labels)}
            encoded = sorted(((self.encoder.whole(m[0].text), m) for m in examples), key=lambda pair: len(pair[0]))
            missing = size - len(examples)  # padding stands first: it is shortest
            sequences.append([(self.encoder.pad,)] * missing + [tokens for tokens, _ in encoded])
            for i, (_, (example, is_support, is_scored)) in enumerate(encoded, missing):
                if example.label in place:
                    onehot[t, i, place[example.label]] = 1
                in_support[t, i], weights[t, i] = is_support, is_scored
        ends = cuts(np.array([[len(s) for s in task] for task in sequences]), self.ops.LANES)
        parts = tuple(
            self._part([s for task in sequences for s in task[a:b]]) for a, b in zip([0, *ends], ends, strict=False)
        )
        return {"parts": parts, "onehot": onehot, "in_support": in_support, "weights": weights}

    def _part(self, sequences: list[tuple[int, ...]]) -> Batch:
        tokens = pad(sequences, self.encoder.pad)
        lengths = np.array([len(s) for s in sequences])
        pool = (np.arange(tokens.shape[1]) < lengths[:, None]) / lengths[:, None]
        return {"tokens": tokens, "pool": pool.astype(np.float32)}

    def ask(self, examples: Sequence[Example], labels: tuple[str, ...]) -> Batch:
        """One task of examples without a support set: the class sums that join the batch make the prototypes.

        order (n,): which example stands at each place.
        """
        batch = self._batch([[(e, False, True) for e in examples]], [Episode("", (), tuple(examples), labels)])
        return {**batch, "order": np.argsort([len(self.encoder.whole(e.text)) for e in examples], kind="stable")}

    def memory(self, model: Model, weights: Weights, batch: Batch) -> Batch:
        """Class sums and counts of the support set and of the earlier examples that the batch brings."""
        sums, counts, _ = self.sums(self.features(model, weights, batch), batch)
        return {"class_sums": sums, "class_counts": counts}

    def features(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Features (T, B, d'), float32; d' is d, or 2d with the first block's means."""
        ops, tasks = self.ops, batch["weights"].shape[0]
        parts = []
        for i, part in enumerate(batch["parts"]):
            with ops.lane(i):
                hidden = ops.cast(model.hidden(weights, part["tokens"], part.get("prefix_states")), part["pool"])
                pool = self._pool(weights[ATTENTION], hidden, part["pool"]) if ATTENTION in weights else part["pool"]
                means = [(hidden * pool.reshape(*pool.shape, 1)).sum(1)]
                means += [part["first_block_mean"]] if "first_block_mean" in part else []
                found = ops.concatenate([m / ops.sqrt((m * m).sum(-1).reshape(-1, 1) + TINY) for m in means], -1)
                parts.append(found.reshape(tasks, -1, found.shape[-1]))
        found = ops.concatenate(parts, 1)
        if METRIC not in weights:
            return found
        metric = weights[METRIC]
        centered = (found - weights[CENTER].reshape(-1, 1, found.shape[-1])).reshape(
            metric.shape[0], -1, metric.shape[-1]
        )
        return (centered @ metric).reshape(found.shape)

    def _pool(self, attention: Array, hidden: Array, pool: Array) -> Array:
        """Weights (T*B', L) of tokens: softmax of their scores, 0 on padding."""
        each = hidden.reshape(attention.shape[0], -1, hidden.shape[-1]) @ attention.reshape(*attention.shape, 1)
        return self.ops.softmax(each.reshape(*pool.shape) + self.ops.log(pool + 1e-30))

    def init_metric(self, model: Model, weights: Weights, batches: Iterable[Batch]) -> dict[str, np.ndarray]:
        """center (d',) and metric (d', d') from training tasks, under weights (1, ...) with the plain mean.

        metric = (S + shrink mean(eigenvalues) 1)^(-1/2), scaled to keep lengths on average, with S the covariance
        within classes of a task; center = the mean of the classes' means.
        """
        scatter, count, centers = np.zeros(()), 0.0, []
        for batch in batches:
            f = self.ops.numpy(self.features(model, weights, batch)).astype(np.float64)
            onehot = self.ops.numpy(batch["onehot"]).astype(np.float64)
            sizes = onehot.sum(1)[..., None]
            means = np.swapaxes(onehot, 1, 2) @ f / np.maximum(sizes, 1)
            away = (f - onehot @ means) * onehot.sum(-1, keepdims=True)
            scatter = scatter + np.einsum("tbi,tbj->ij", away, away)
            count += float((sizes - (sizes > 0)).sum())
            centers.append(means[sizes[..., 0] > 0])
        values, vectors = np.linalg.eigh(scatter / max(count, 1.0))
        mean = float(values.mean())
        root = np.sqrt(mean / (np.maximum(values, 0) + SHRINK * mean))
        return {CENTER: np.concatenate(centers).mean(0), METRIC: (vectors * root) @ vectors.T}

    def sums(self, features: Array, batch: Batch) -> tuple[Array, Array, Array]:
        """Class sums (T, N, d), class counts (T, N), and the examples of this batch in them (T, B, N)."""
        member = members(batch)
        sums, counts = self.ops.swap(member) @ features, member.sum(1)
        if "class_sums" in batch:
            sums, counts = sums + batch["class_sums"], counts + batch["class_counts"]
        return sums, counts, member

    def scores(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Logits (T, B, N), each example left out of its own class; classes without examples get -1e9."""
        ops = self.ops
        f = self.features(model, weights, batch)
        sums, counts, member = self.sums(f, batch)
        own = column((f * f).sum(-1))
        dots = f @ ops.swap(sums)
        size = (sums * sums).sum(-1).reshape(sums.shape[0], 1, -1) + member * (own - 2 * dots)
        scale = ops.sqrt(ops.maximum(own, TINY)) * ops.sqrt(ops.maximum(size, TINY))
        there = ops.minimum(counts, 1).reshape(member.shape[0], 1, -1)
        temperature = ops.exp(weights[SCALE]).reshape(-1, 1, 1)
        return temperature * (dots - member * own) / scale * there + (there - 1) * 1e9

    def temperature_change(self, model: Model, weights: Weights, batch: Batch) -> np.ndarray:
        """Changes (T,) of the log temperatures that fit a support set, by leave-one-out.

        s = argmin  - sum_i log p_s(y_i) + (s - s_0)^2 / (2 SPREAD^2), from the row's own s_0. A batch may bring
        class_counts of earlier examples, which s_0 was fitted to: the row then gets the mean over all examples.
        """
        z, onehot, counted = map(
            self.ops.numpy, (self.scores(model, weights, batch), batch["onehot"], self.loss_weights(batch))
        )
        found = np.array(
            [temperature_change(*task) for task in zip(z.astype(np.float64), onehot, counted, strict=True)], np.float32
        )
        known = self.ops.numpy(batch["class_counts"]).sum(-1) if "class_counts" in batch else 0.0
        change: np.ndarray = found * counted.sum(-1) / np.maximum(counted.sum(-1) + known, 1)
        return change

    def loss_weights(self, batch: Batch) -> Array:
        """Weights (T, B) of scored examples; 0 for the only example of its class.

        Without it, its class has no prototype.
        """
        if "in_support" not in batch:
            return batch["weights"]
        member = members(batch)
        count = member.sum(1) + batch.get("class_counts", 0.0)
        alone = (member * self.ops.maximum(2 - count, 0).reshape(member.shape[0], 1, -1)).sum(-1)
        return batch["weights"] * (1 - alone)


def members(batch: Batch) -> Array:
    """Support examples of each class: 1 where example i is one of class c (T, B, N)."""
    return batch["onehot"] * column(batch["in_support"])


def column(x: Array) -> Array:
    """The same numbers (T, B, 1) of (T, B)."""
    return x.reshape(*x.shape, 1)


def prototypes(
    ops: Engine,
    tokenizer: Tokenizer,
    *,
    features: FeatureSettings = FeatureSettings(),
) -> Prototypes:
    """Builds the readout (Snell et al. 2017, with a learned metric).

    Use it when a label has one or two examples, or labels come and go: new ones need no training.
    Not when a label has five examples or more: `ridge` is more accurate there.
    """
    return Prototypes(ops, tokenizer, features)
