"""Class means of the adapted features of the support set, cosine scores with a learned temperature.

feature f = ([u(sum_t a_t h_t), u(mean_t l_t)] - center) metric, with h the last hidden states, l the output of the
first block where that is frozen (closest to words; else left out), u scaling to length 1, a = softmax_t(h_t
. attention) over an example's tokens; class c's prototype = sum of the features of its support examples;
score(i, c) = exp(s) cos(f_i, prototype_c), where a support example is scored against prototypes that leave it out.
At a random start attention and center are 0 and the metric is the unit matrix: plain means. Meta-training begins from
the metric that whitens what varies within classes (`prime`), the closed form of linear discriminant analysis. All three
are the run's, the same for everyone.
A batch may bring "prior" (T, N, d) and "known" (T, N): class sums and counts of examples that are no longer at hand.
"""

from collections.abc import Iterable, Sequence
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


class Prototypes(Readout):
    """Snell et al. 2017 on adapted features, with the temperature as one more number of the row."""

    verify_with = ({"temperature": 4.0},)
    classifies = True

    def __init__(
        self,
        ops: Engine,
        tokenizer: Tokenizer,
        temperature: float,
        metric: str,
        metric_episodes: int,
        max_length: int,
    ):
        self.ops, self.encoder = ops, Encoder(tokenizer, max_length)
        self.temperature, self.metric = temperature, metric
        self.metric_episodes = metric_episodes if metric == "learned" else 0

    def segments(self, width: int, frozen: bool) -> tuple[Segment, ...]:
        """The readout's numbers at the end of a row, for states of a width; `frozen` says that the first block is."""
        scale = Segment(SCALE, (1,), ("constant", log(self.temperature)))
        if self.metric == "plain":
            return (scale,)
        wide = width * (1 + frozen)
        return (
            Segment(ATTENTION, (width,), shared=True),
            Segment(CENTER, (wide,), shared=True),
            Segment(METRIC, (wide, wide), ("identity", 1.0), shared=True),
            scale,
        )

    def support(self, episodes: Sequence[Episode]) -> Batch:
        """What T episodes learn from: each example is scored against prototypes that leave it out."""
        return self._batch([[(e, True, True) for e in ep.support] for ep in episodes], episodes)

    def query(self, episodes: Sequence[Episode]) -> Batch:
        """What T episodes are judged on; it brings the support along, unscored."""
        both = [[(e, True, False) for e in ep.support] + [(e, False, True) for e in ep.query] for ep in episodes]
        return self._batch(both, episodes)

    def _batch(self, marked: list[list[tuple[Example, bool, bool]]], episodes: Sequence[Episode]) -> Batch:
        """NumPy arrays of examples, each with whether it is given and whether it is scored.

        parts: passes of examples of like length, each tokens (T*B', L) and pool (T*B', L), which averages over real
        tokens; onehot (T, B, N); given (T, B) marks what makes prototypes; weights (T, B) what is scored. A task's
        examples are in the order of their lengths.
        """
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
        ends = cuts(np.array([[len(s) for s in task] for task in sequences]), self.ops.LANES)
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

    def memory(self, model: Model, weights: Weights, batch: Batch) -> Batch:
        """What answers later without the support at hand: its class sums and counts, and those of before with them."""
        sums, member = self.means(self.features(model, weights, batch), batch)
        prior, known = (batch["prior"], batch["known"]) if "prior" in batch else (0.0, 0.0)
        return {"prior": sums + prior, "known": member.sum(1) + known}

    def features(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Features (T, B, d'), float32; d' is d, or 2d with the first block's means."""
        ops, tasks = self.ops, batch["weights"].shape[0]
        parts = []
        for i, part in enumerate(batch["parts"]):
            with ops.lane(i):
                hidden = ops.cast(model.hidden(weights, part["tokens"], part.get("start")), part["pool"])
                pool = self._pool(weights[ATTENTION], hidden, part["pool"]) if ATTENTION in weights else part["pool"]
                means = [(hidden * pool.reshape(*pool.shape, 1)).sum(1)]
                means += [part["lexical"]] if "lexical" in part else []
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

    def means(self, features: Array, batch: Batch) -> tuple[Array, Array]:
        """Class sums (T, N, d) of what is given, and which examples they hold (T, B, N)."""
        member = batch["onehot"] * batch["given"].reshape(*batch["given"].shape, 1)
        return self.ops.swap(member) @ features, member

    def scores(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Logits (T, B, N), each example left out of its own class; classes without examples get -1e9."""
        ops = self.ops
        f = self.features(model, weights, batch)
        sums, member = self.means(f, batch)
        count = member.sum(1)
        if "prior" in batch:
            sums, count = sums + batch["prior"], count + batch["known"]
        own = (f * f).sum(-1).reshape(*f.shape[:2], 1)
        dots = f @ ops.swap(sums)
        size = (sums * sums).sum(-1).reshape(sums.shape[0], 1, -1) + member * (own - 2 * dots)
        scale = ops.sqrt(ops.maximum(own, TINY)) * ops.sqrt(ops.maximum(size, TINY))
        held = self.ops.minimum(count, 1).reshape(member.shape[0], 1, -1)
        temperature = ops.exp(weights[SCALE]).reshape(-1, 1, 1)
        return temperature * (dots - member * own) / scale * held + (held - 1) * 1e9

    def temperature_change(self, model: Model, weights: Weights, batch: Batch) -> np.ndarray:
        """How much each task's log temperature has to change (T,) to fit a support set, each example left out.

        s = argmin  - sum_i log p_s(y_i) + (s - s_0)^2 / (2 SPREAD^2), from the row's own s_0. Where a batch brings a
        memory of "known" examples, s_0 is theirs, and the row gets the mean over all examples, as a class does.
        """
        z, onehot, counted = map(
            self.ops.numpy, (self.scores(model, weights, batch), batch["onehot"], self.judged(batch))
        )
        found = np.array(
            [temperature_change(*task) for task in zip(z.astype(np.float64), onehot, counted, strict=True)], np.float32
        )
        known = self.ops.numpy(batch["known"]).sum(-1) if "known" in batch else 0.0
        change: np.ndarray = found * counted.sum(-1) / np.maximum(counted.sum(-1) + known, 1)
        return change

    def judged(self, batch: Batch) -> Array:
        """Weights (T, B) of what is judged: an example that is all that its class has counts no more than padding.

        It is left out of its own class, and nothing stays of that.
        """
        if "given" not in batch:
            return batch["weights"]
        member = batch["onehot"] * batch["given"].reshape(*batch["given"].shape, 1)
        count = member.sum(1) + batch.get("known", 0.0)
        alone = (member * self.ops.maximum(2 - count, 0).reshape(member.shape[0], 1, -1)).sum(-1)
        return batch["weights"] * (1 - alone)

    def losses(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Mean cross-entropy (T,) of what is judged, nats."""
        z, counted = self.scores(model, weights, batch), self.judged(batch)
        each = (self.ops.log_sum_exp(z) - (z * batch["onehot"]).sum(-1).reshape(*z.shape[:2], 1)).reshape(*z.shape[:2])
        return (each * counted).sum(-1) / self.ops.maximum(counted.sum(-1), 1)


def prototypes(
    ops: Engine,
    tokenizer: Tokenizer,
    *,
    temperature: Positive = 10.0,
    metric: Literal["learned", "plain"] = "learned",
    metric_episodes: Natural = 100,
    max_length: Count = 128,
) -> Prototypes:
    """Builds the readout (Snell et al. 2017, with a learned metric).

    Use it when a label has one or two examples, or labels come and go: new ones need no training.
    Not when a label has five examples or more: `ridge` is more accurate there.

    temperature: the factor of the scores, before it is fitted; larger is surer.
    metric: learned weighs tokens and features by meta-training; plain takes plain means.
    metric_episodes: training episodes from which the metric's start is computed; 0 starts from the unit matrix.
    max_length: texts are cut there, in tokens.
    """
    return Prototypes(ops, tokenizer, temperature, metric, metric_episodes, max_length)
