"""Task2Vec: which numbers of the row a task depends on (Achille et al. 2019)."""

from typing import Any

import numpy as np

from .. import adapt
from ..compose import Composition
from ..types import Array, Batch, Parts, Tree

TOGETHER = 8
"""Rows that hold one example each, in one pass."""


def task2vec(composed: Composition, episode: Any, theta: Tree | None = None) -> np.ndarray:
    """The log-normalized Fisher (own,) of a person's numbers on the support set: log(1 + F / mean F), 0 where F is 0.

    F is taken where adaptation begins under `theta`, or from a random start, always the same, where none is given.
    """
    parts = composed.parts
    theta = composed.begin(0) if theta is None else theta
    found = fisher(parts, adapt.begin(parts, theta, parts.problem.support([episode]))["rows"], episode)
    return np.log1p(found / max(float(found.mean()), 1e-30))


def fisher(parts: Parts, rows: Array, episode: Any) -> np.ndarray:
    """The empirical Fisher's diagonal (own,) at a row (1, P): the mean over examples of each one's squared gradient.

    An example's loss is its term in the task's loss, on its own: class means come from the whole support set.
    """
    count = parts.problem.support([episode])["weights"].shape[1]
    total = np.zeros(int(parts.problem.layout.own.sum()))
    for first in range(0, count, TOGETHER):
        scored = np.eye(count)[first : first + TOGETHER]
        batch = {**parts.problem.support([episode] * len(scored)), "weights": parts.ops.array(scored)}
        total += _squares(parts, rows, batch)
    return total / count


def _squares(parts: Parts, rows: Array, batch: Batch) -> np.ndarray:
    """The sum over T tasks of their squared gradients, (own,)."""
    repeated = parts.ops.broadcast(rows, (batch["weights"].shape[0], rows.shape[1]))
    grads = parts.ops.grad(lambda rows: parts.problem.losses(rows, batch).sum(), repeated)
    return parts.problem.layout.stored(np.square(parts.ops.numpy(grads).astype(np.float64)).sum(0))


def distance(one: np.ndarray, two: np.ndarray) -> float:
    """The cosine distance of two embeddings, 0 for the same direction and 1 for none in common."""
    return float(1 - one @ two / max(float(np.linalg.norm(one) * np.linalg.norm(two)), 1e-30))
