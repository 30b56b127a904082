"""Ridge regression on the adapted features, solved in closed form for each support set (Bertinetto et al. 2019).

u = a text's feature, as `prototypes` has it, scaled to length 1; Y = the labels, one-hot; U = rows of the support set:

W = (U^T V U + strength 1)^(-1) U^T V Y;   score(i, c) = exp(s) u_i . W_c

V = the weights v_i = H / n_c, with n_c the size of i's class and H the harmonic mean of all classes': they count alike,
however many examples each has, and an only example never more than N times. A support example is scored by the W that
leaves it out, without a second solution: with the hat matrix's diagonal h, and V as it is, its score is
(u_i W - h_i y_i) / (1 - h_i). Class means weigh each example of a class alike; W weighs those more that are hard to
tell apart. The meta-gradient goes through the solution.
A batch's class_sums (T, N, 2d) hold class sums of earlier examples, as in `prototypes`, and beside them W times the
counts, which scores a batch without a support set. With a support set each earlier class counts as its mean, as often
as it had examples (class_counts).
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from ..core.bases import Model, Tokenizer
from ..core.bounds import Bounds
from ..core.engine import Engine
from ..core.types import SCALE, Array, Batch, Episode, Example, Weights
from .prototypes import TINY, FeatureSettings, Prototypes, column, members

SEARCH, POLISH = 24, 2
"""Newton steps to an inverse, enough for condition numbers up to a million; and those that carry derivatives: n of them
give those of order 2^n - 1 exactly."""


class Ridge(Prototypes):
    """Least squares in place of class means; a row holds the same numbers."""

    def __init__(self, ops: Engine, tokenizer: Tokenizer, strength: float, settings: FeatureSettings):
        super().__init__(ops, tokenizer, settings)
        self.strength = strength

    def _batch(self, marked: list[list[tuple[Example, bool, bool]]], episodes: Sequence[Episode]) -> Batch:
        """The arrays of `prototypes`; without in_support where there is no support set: the memory has W then."""
        batch = super()._batch(marked, episodes)
        return batch if batch["in_support"].any() else {k: v for k, v in batch.items() if k != "in_support"}

    def memory(self, model: Model, weights: Weights, batch: Batch) -> Batch:
        """Class sums, W times counts beside them, and the counts."""
        u, counts = self.directions(model, weights, batch), self.counts(batch)
        solution, _ = self.solve(u, batch)
        sums = self.ops.swap(members(batch)) @ u + (self._earlier(batch)[0] if "class_sums" in batch else 0.0)
        return {
            "class_sums": self.ops.concatenate([sums, self.ops.swap(solution) * column(counts)], -1),
            "class_counts": counts,
        }

    def directions(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Features (T, B, d') of length 1."""
        f = self.features(model, weights, batch)
        return f / self.ops.sqrt(column((f * f).sum(-1)) + TINY)

    def counts(self, batch: Batch) -> Array:
        """Examples of each class (T, N), earlier ones included."""
        new = members(batch).sum(1) if "in_support" in batch else 0.0
        return new + batch["class_counts"] if "class_counts" in batch else new

    def _earlier(self, batch: Batch) -> tuple[Array, Array]:
        """Class sums (T, N, d') and W times the counts (T, N, d') of earlier examples."""
        sums, weighted = self.ops.split(batch["class_sums"], [batch["class_sums"].shape[-1] // 2], 2)
        return sums, weighted

    def solve(self, u: Array, batch: Batch) -> tuple[Array, Array]:
        """W (T, d', N), and 1 - h (T, B) of the support set."""
        ops, tasks, many = self.ops, u.shape[0], u.shape[1]
        if "in_support" not in batch:
            kept = self._earlier(batch)[1] / ops.maximum(column(batch["class_counts"]), 1)
            return ops.swap(kept), ops.ones((tasks, many))
        counts = self.counts(batch)
        there, size = ops.minimum(counts, 1), ops.maximum(counts, 1)
        even = column(there.sum(-1) / ops.maximum((there / size).sum(-1), TINY)) / size
        each = ops.sqrt(batch["onehot"] @ column(even)) * column(batch["in_support"])
        rows, y = u * each, batch["onehot"] * each
        if "class_sums" in batch:
            root = ops.sqrt(even * batch["class_counts"] + 1e-12)
            means = self._earlier(batch)[0] / ops.maximum(column(batch["class_counts"]), 1)
            rows = ops.concatenate([rows, means * column(root)], 1)
            y = ops.concatenate([y, ops.array(np.eye(y.shape[-1])) * column(root)], 1)
        size, wide = rows.shape[1:]
        if size <= wide:
            dual = inverse(ops, rows @ ops.swap(rows) + self.strength * ops.array(np.eye(size)))
            weights = ops.swap(rows) @ (dual @ y)
            rest = self.strength * (dual * ops.array(np.eye(size))).sum(-1)
        else:
            primal = inverse(ops, ops.swap(rows) @ rows + self.strength * ops.array(np.eye(wide)))
            weights = primal @ (ops.swap(rows) @ y)
            rest = 1 - ((rows @ primal) * rows).sum(-1)
        return weights, ops.split(rest, [many], 1)[0]

    def scores(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Logits (T, B, N), as `prototypes` has them."""
        ops, u, counts = self.ops, self.directions(model, weights, batch), self.counts(batch)
        solution, rest = self.solve(u, batch)
        found = u @ solution
        if "in_support" in batch:
            in_support, y = column(batch["in_support"]), batch["onehot"]
            out = (found - y * column(1 - rest)) / ops.maximum(column(rest), TINY)
            found = in_support * out + (1 - in_support) * found
        there = ops.minimum(counts, 1).reshape(counts.shape[0], 1, -1)
        return ops.exp(weights[SCALE]).reshape(-1, 1, 1) * found * there + (there - 1) * 1e9


def inverse(ops: Engine, a: Array) -> Array:
    """The inverse (T, n, n) of symmetric positive definite matrices by Newton's iteration X <- X (2 - A X).

    It takes matrix products alone, so it runs on any device. The search has no gradient. The polish is exact in value
    and in the derivatives that the reverse pass takes.
    """
    eye, constant = ops.array(np.eye(a.shape[-1])), ops.stop_gradient(a)
    found = eye / (constant * eye).sum(-1).sum(-1).reshape(-1, 1, 1)
    for _ in range(SEARCH):
        found = found @ (2 * eye - constant @ found)
    found = ops.stop_gradient(found)
    for _ in range(POLISH):
        found = found @ (2 * eye - a @ found)
    return found


def ridge(
    ops: Engine,
    tokenizer: Tokenizer,
    *,
    strength: Annotated[float, Bounds(0.01)] = 0.3,
    features: FeatureSettings = FeatureSettings(),  # noqa: B008 (frozen)
) -> Ridge:
    """Builds the readout with a ridge for features of length 1.

    Use it when texts get labels: the most accurate readout here with a few examples a label, and the quickstart's.
    Not when labels have one or two examples: `prototypes` is as good and cheaper.

    strength: the ridge that is added to the squared features.
    """
    return Ridge(ops, tokenizer, strength, features)
