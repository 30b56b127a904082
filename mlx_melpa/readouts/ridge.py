"""Ridge regression on the adapted features, solved in closed form for each support set (Bertinetto et al. 2019).

u = a text's feature, as `prototypes` has it, scaled to length 1; Y = the labels, one-hot; U = rows of what is given:

W = (U^T V U + strength 1)^(-1) U^T V Y;   score(i, c) = exp(s) u_i . W_c

V = the weights v_i = H / n_c, with n_c the size of i's class and H the harmonic mean of all classes': they count alike,
however many examples each has, and an only example never more than N times. A support example is scored by the W that
leaves it out, at no second solution: with the hat matrix's diagonal h, and V as it is, its score is
(u_i W - h_i y_i) / (1 - h_i). Where class means weigh each example of a class alike, W leans on those that are hard to
tell apart. Meta-training goes through the solution. A batch's "prior" (T, N, 2d) holds class sums of what is no longer
at hand, as in `prototypes`, and beside them the W that answers while nothing new is given; together with new examples
each earlier class counts as its mean, as often as it had examples ("known").
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np

from ..core.bases import Model, Tokenizer
from ..core.bounds import Bounds, Count, Natural, Positive
from ..core.engine import Engine
from ..core.types import SCALE, Array, Batch, Episode, Example, Weights
from .prototypes import TINY, Prototypes

SEARCH, POLISH = 24, 2
"""Newton steps to an inverse, enough for condition numbers up to a million; and those that carry derivatives: n of them
give those of order 2^n - 1 exactly."""


class Ridge(Prototypes):
    """Least squares in place of class means; what a row holds is what it holds for them."""

    def __init__(self, strength: float, *settings: Any):
        super().__init__(*settings)
        self.strength = strength

    def _batch(self, marked: list[list[tuple[Example, bool, bool]]], episodes: Sequence[Episode]) -> Batch:
        """The arrays of `prototypes`; without `given` where nothing is, and the memory answers."""
        batch = super()._batch(marked, episodes)
        return batch if batch["given"].any() else {k: v for k, v in batch.items() if k != "given"}

    def memory(self, model: Model, weights: Weights, batch: Batch) -> Batch:
        """Class sums, W times counts beside them, and the counts."""
        u, counts = self.directions(model, weights, batch), self.counts(batch)
        sums, (solution, _) = self.sums(u, batch), self.solve(u, batch)
        return {"prior": self.ops.concatenate([sums, self.ops.swap(solution) * column(counts)], -1), "known": counts}

    def directions(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Features (T, B, d') of length 1."""
        f = self.features(model, weights, batch)
        return f / self.ops.sqrt(column((f * f).sum(-1)) + TINY)

    def sums(self, u: Array, batch: Batch) -> Array:
        """Class sums (T, N, d') of what is given and of what was."""
        found = self.means(u, batch)[0]
        return found + self._earlier(batch)[0] if "prior" in batch else found

    def counts(self, batch: Batch) -> Array:
        """How many examples each class has and had (T, N)."""
        new = (batch["onehot"] * column(batch["given"])).sum(1) if "given" in batch else 0.0
        return new + batch["known"] if "known" in batch else new

    def _earlier(self, batch: Batch) -> tuple[Array, Array]:
        sums, weights = self.ops.split(batch["prior"], [batch["prior"].shape[-1] // 2], 2)
        return sums, weights

    def solve(self, u: Array, batch: Batch) -> tuple[Array, Array]:
        """W (T, d', N), and 1 - h (T, B) of what is given."""
        ops, tasks, many = self.ops, u.shape[0], u.shape[1]
        if "given" not in batch:
            kept = self._earlier(batch)[1] / ops.maximum(column(batch["known"]), 1)
            return ops.swap(kept), ops.ones((tasks, many))
        counts = self.counts(batch)
        there, size = ops.minimum(counts, 1), ops.maximum(counts, 1)
        even = column(there.sum(-1) / ops.maximum((there / size).sum(-1), TINY)) / size
        each = ops.sqrt(batch["onehot"] @ column(even)) * column(batch["given"])
        rows, y = u * each, batch["onehot"] * each
        if "prior" in batch:
            root = ops.sqrt(even * batch["known"] + 1e-12)
            means = self._earlier(batch)[0] / ops.maximum(column(batch["known"]), 1)
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
        if "given" in batch:
            given, y = column(batch["given"]), batch["onehot"]
            out = (found - y * column(1 - rest)) / ops.maximum(column(rest), TINY)
            found = given * out + (1 - given) * found
        held = ops.minimum(counts, 1).reshape(counts.shape[0], 1, -1)
        return ops.exp(weights[SCALE]).reshape(-1, 1, 1) * found * held + (held - 1) * 1e9


def column(x: Array) -> Array:
    """The same numbers (T, B, 1) of (T, B)."""
    return x.reshape(*x.shape, 1)


def inverse(ops: Engine, a: Array) -> Array:
    """The inverse (T, n, n) of symmetric positive definite matrices by Newton's iteration X <- X (2 - A X).

    It is products of matrices alone, on any device. The search leaves no history; the polish is exact in value and in
    the derivatives that walks ask for.
    """
    eye, held = ops.array(np.eye(a.shape[-1])), ops.stop_gradient(a)
    found = eye / (held * eye).sum(-1).sum(-1).reshape(-1, 1, 1)
    for _ in range(SEARCH):
        found = found @ (2 * eye - held @ found)
    found = ops.stop_gradient(found)
    for _ in range(POLISH):
        found = found @ (2 * eye - a @ found)
    return found


def ridge(
    ops: Engine,
    tokenizer: Tokenizer,
    *,
    strength: Annotated[float, Bounds(0.01)] = 0.3,
    temperature: Positive = 10.0,
    metric: Literal["learned", "plain"] = "learned",
    metric_episodes: Natural = 100,
    max_length: Count = 128,
) -> Ridge:
    """Builds the readout with a ridge for features of length 1.

    Use it when texts get labels: the most accurate readout here with a few examples a label, and the quickstart's.
    Not when labels have one or two examples: `prototypes` is as good and cheaper.

    strength: the ridge that is added to the squared features.
    Other settings: as `prototypes`.
    """
    return Ridge(strength, ops, tokenizer, temperature, metric, metric_episodes, max_length)
