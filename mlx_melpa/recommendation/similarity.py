"""Similarity of new data to the training tasks of a run, by task embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.types import Episode, Example
from ..evaluation.baselines import frozen_features as frozen
from ..store.run import Run
from .embeddings import distance, encodes, handcrafted, learned, task2vec

TASKS = 12
"""The number of training tasks that are compared."""


@dataclass(frozen=True)
class Similarity:
    """How typical new data is of a run's tasks, by embedding, and the names of the `tasks`, nearest first.

    The value is the share of all points, the data and n tasks, that are at least as far from their nearest neighbour as
    the data is: 1 in their midst, 1 / (n + 1) further out than all (a conformal p-value, Vovk et al. 2005). It has no
    unit, so that runs on different bases can be compared.
    """

    embeddings: dict[str, float]
    tasks: tuple[str, ...]

    @property
    def mean(self) -> float:
        """The mean over embeddings."""
        return float(np.mean(list(self.embeddings.values())))


def similarity(run: Run, data: Episode, seed: int = 0) -> Similarity:
    """Compares the support set of `data`, cut to their size, with those of training tasks of the run."""
    tasks = run.setup.recipe.make("tasks").train
    drawn = [tasks.episode(np.random.default_rng([seed, 3, i])) for i in range(TASKS)]
    shares, places = {}, []
    for name, vectors in embedded(run, [like(data, drawn[0]), *drawn]).items():
        apart = distances(name, vectors)
        shares[name] = typical(apart)
        places.append(apart[0, 1:].argsort(kind="stable").argsort())
    order = np.mean(places, axis=0).argsort(kind="stable")
    return Similarity(shares, tuple(dict.fromkeys(drawn[i].name for i in order)))


def like(data: Episode, task: Episode) -> Episode:
    """The data with at most as many labels, and examples of each, as a task has, so that size makes no difference."""
    labels = data.labels[: len(task.labels)]
    parts = [[e for e in data.support if e.label == label] for label in labels] or [list(data.support)]
    each = max(1, len(task.support) // max(1, len(task.labels)))
    return replace(data, support=tuple(e for part in parts for e in part[:each]), labels=labels)


def embedded(run: Run, episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
    """The embeddings (E, d) of support sets, by name; handcrafted ones without the size, which is no trait of a task.

    "learned" is there if the run's initializer has a task encoder.
    """
    setup, known = run.setup, frozen.Features()
    read = [replace(e, support=tuple(Example("\n".join(x.texts)) for x in e.support), query=()) for e in episodes]
    frozen.features(setup, read, known)
    found = {
        "handcrafted": np.stack([handcrafted(setup, e)[1:] for e in episodes]),
        "features": np.stack([np.mean([known[x.text] for x in e.support], axis=0) for e in read]),
        "task2vec": np.stack([task2vec(setup, e, run.theta) for e in episodes]),
    }
    if encodes(setup):
        found["learned"] = np.stack([learned(setup, e, run.theta) for e in episodes])
    return found


def distances(name: str, vectors: np.ndarray) -> np.ndarray:
    """Distances (E, E) of vectors (E, d): Euclidean for counts, each by its own spread, and cosine for the others."""
    if name != "handcrafted":
        return np.array([[distance(one, two) for two in vectors] for one in vectors])
    spread = vectors.std(0)
    scaled = vectors[:, spread > 0] / spread[spread > 0]
    return np.sqrt(np.square(scaled[:, None] - scaled[None]).sum(-1))


def typical(apart: np.ndarray) -> float:
    """Of the first of E points how typical it is of all, by their distances (E, E)."""
    nearest = (apart + np.diag(np.full(len(apart), np.inf))).min(1)
    return float((nearest >= nearest[0]).mean())
