"""Classifiers on the frozen base's features: prototypes and logistic regression, tuned on other episodes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ...config.build import Setup
from ...core.microbatches import chunks
from ...core.progress import Advance, silent
from ...core.types import Episode, Json
from ...data.tokens import pad
from ...problems.language import classified
from ..curves import Measures

Features = dict[str, np.ndarray]
"""By text the features (d') that the readout `prototypes` takes: the mean of the last hidden states, then that of the
first block's output if that block is frozen, each of length 1."""
TEXTS_PER_PASS = 64


def features(
    setup: Setup,
    episodes: Iterable[Episode],
    known: Features,
    advance: Advance = silent,
) -> Features:
    """Adds the features of the episodes' texts to those already known."""
    ops, encoder, weights = setup.ops, setup.readout.encoder, setup.problem.identity_weights()
    texts = {e.text for episode in episodes for e in (*episode.support, *episode.query)} - known.keys()
    for chunk in chunks(sorted(texts, key=lambda text: (len(encoder.whole(text)), text)), TEXTS_PER_PASS):
        tokens = [encoder.whole(text) for text in chunk]
        padded, lengths = ops.array(pad(tokens, encoder.pad)), [len(ids) for ids in tokens]
        states = [setup.model.hidden(weights, padded)]
        states += [setup.model.frozen_states(padded)[0]] if setup.model.frozen_blocks else []
        found = [ops.numpy(s) for s in states]
        for i, (text, length) in enumerate(zip(chunk, lengths, strict=True)):
            known[text] = np.concatenate([unit(s[i, :length].mean(0)) for s in found])
        advance(len(chunk))
    return known


@dataclass(frozen=True)
class FeatureTask:
    """A task as features: support (S, d) with classes (S,) out of `ways`, query (Q, d), answers (Q,), -1 for none.

    center (d,): the mean feature of the training tasks.
    """

    support: np.ndarray
    classes: np.ndarray
    query: np.ndarray
    answers: np.ndarray
    ways: int
    center: np.ndarray

    @classmethod
    def of(cls, episode: Episode, known: Features, center: np.ndarray) -> "FeatureTask":
        """The task of an episode whose texts are known."""
        place = {label: c for c, label in enumerate(episode.labels)}
        support, query = (
            np.stack([known[e.text] for e in examples]).astype(np.float64)
            for examples in (episode.support, episode.query)
        )
        classes = np.array([place[e.label or ""] for e in episode.support])
        answers = np.array([place.get(e.label or "", -1) for e in episode.query])
        return cls(support, classes, query, answers, len(place), center)


def measure(name: str, settings: Json, tasks: Sequence[FeatureTask]) -> Measures:
    """Loss, accuracy and F1, each (E,), of one classifier."""
    found = []
    for task in tasks:
        probabilities = CLASSIFIERS[name](task, **settings)
        onehot = (task.answers[:, None] == np.arange(task.ways)).astype(np.float64)
        found.append(classified(probabilities[None], onehot[None], np.ones((1, len(task.answers)))))
    return {key: np.concatenate([one[key] for one in found]) for key in found[0]}


def tune(name: str, tasks: Sequence[FeatureTask]) -> Json:
    """The settings of the grid with the best accuracy on these tasks, then the least loss."""
    grid = GRIDS[name]
    options = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def worth(settings: Json) -> tuple[float, float]:
        found = measure(name, settings, tasks)
        return float(found["accuracy"].mean()), -float(found["loss"].mean())

    return max(options, key=worth)


def prototypes(task: FeatureTask, *, center: str, temperature: float) -> np.ndarray:
    """Probabilities (Q, N) from cosines to class means, after a mean feature is subtracted."""
    mean = {"none": 0.0, "support": task.support.mean(0), "training": task.center}[center]
    means = np.stack([(task.support - mean)[task.classes == c].mean(0) for c in range(task.ways)])
    return softmax(temperature * unit(task.query - mean) @ unit(means).T)


def logistic_regression(task: FeatureTask, *, scale: str, C: float) -> np.ndarray:
    """Probabilities (Q, N) of scikit-learn's logistic regression on features scaled per number, or to length 1."""
    from sklearn.linear_model import LogisticRegression

    support, query = task.support, task.query
    if scale == "length":
        support, query = unit(support), unit(query)
    else:
        mean, spread = support.mean(0), support.std(0) + 1e-6
        support, query = (support - mean) / spread, (query - mean) / spread
    model = LogisticRegression(C=C, max_iter=300, tol=1e-3).fit(support, task.classes)
    found = np.zeros((len(query), task.ways))
    found[:, model.classes_] = model.predict_proba(query)
    return found


def unit(x: np.ndarray) -> np.ndarray:
    """Vectors (..., d) scaled to length 1."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    likely = np.exp(scores - scores.max(-1, keepdims=True))
    found: np.ndarray = likely / likely.sum(-1, keepdims=True)
    return found


CLASSIFIERS: dict[str, Callable[..., np.ndarray]] = {
    "prototypes": prototypes,
    "logistic_regression": logistic_regression,
}
GRIDS: dict[str, dict[str, tuple[object, ...]]] = {
    "prototypes": {"center": ("none", "support", "training"), "temperature": (1.0, 3.0, 10.0, 30.0, 100.0)},
    "logistic_regression": {"scale": ("standard", "length"), "C": (0.01, 0.1, 1.0, 10.0, 100.0)},
}
"""The settings that are tried, by classifier."""
