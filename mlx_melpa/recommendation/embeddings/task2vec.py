"""Task2Vec: the Fisher information of a task about the numbers of a row (Achille et al. 2019)."""

from collections.abc import Iterator

import numpy as np

from ...config.build import Setup
from ...core import inner_loop
from ...core.class_means import BATCH_SIZE
from ...core.microbatches import chunks
from ...core.protocols import Components
from ...core.types import Array, Batch, Episode, Tree


def task2vec(setup: Setup, episode: Episode, theta: Tree | None = None) -> np.ndarray:
    """The log-normalized Fisher (own,) of a user's numbers on the support set: log(1 + F / mean F), 0 where F is 0.

    F is computed at the initial row under `theta`, the same random start by default.
    """
    parts = setup.parts
    theta = setup.begin(0) if theta is None else theta
    found = fisher(parts, theta, inner_loop.begin(parts, theta, parts.problem.support([episode]))["rows"], episode)
    return np.log1p(found / max(float(found.mean()), 1e-30))


def fisher(parts: Components, theta: Tree, rows: Array, episode: Episode) -> np.ndarray:
    """The empirical Fisher's diagonal (own,) at a row (1, P): the mean over examples of each one's squared gradient.

    An example's loss is its term in the task's loss, on its own: class means come from the whole support set.
    """
    count = parts.problem.support([episode])["weights"].shape[1]

    def each() -> Iterator[Batch]:
        for scored in chunks(list(np.eye(count)), BATCH_SIZE):
            yield {**parts.problem.support([episode] * len(scored)), "weights": parts.ops.array(np.array(scored))}

    return parts.ops.numpy(inner_loop.squares(parts, theta, rows, each()))[0]


def distance(one: np.ndarray, two: np.ndarray) -> float:
    """The cosine distance of two embeddings, 0 for the same direction and 1 for none in common."""
    return float(1 - one @ two / max(float(np.linalg.norm(one) * np.linalg.norm(two)), 1e-30))
