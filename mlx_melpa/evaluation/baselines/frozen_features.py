"""Classifiers on the frozen base's features: prototypes, logistic regression, tuned on other episodes."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from ...config.build import Composition
from ...core.types import Array, Episode
from ...data.tokens import pad
from ...errors import MelpaError
from ...problems.language import classified
from .. import curves as evaluate

Settings = dict[str, Any]
Features = dict[str, np.ndarray]
"""A text's features (d') as the readout `prototypes` has them: the mean of the last hidden states, then that of the
first block's output where that is frozen, each of length 1."""
TEXTS_PER_PASS = 64
COSINES: dict[str, tuple[Any, ...]] = {
    "center": ("none", "support", "training"),
    "temperature": (1.0, 3.0, 10.0, 30.0, 100.0),
}
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "prototypes": COSINES,
    "logistic_regression": {"scale": ("standard", "length"), "C": (0.01, 0.1, 1.0, 10.0, 100.0)},
}


def features(
    composed: Composition,
    rows: Array,
    episodes: Iterable[Episode],
    known: Features,
    advance: Callable[[int], None] = lambda _: None,
) -> Features:
    """Adds the features of the episodes' texts, under rows (1, P) that change nothing, to those already known."""
    ops, encoder = composed.parts.ops, composed.readout.encoder
    texts = {e.text for episode in episodes for e in (*episode.support, *episode.query)} - known.keys()
    for chunk in evaluate.chunks(sorted(texts, key=lambda text: (len(encoder.whole(text)), text)), TEXTS_PER_PASS):
        tokens = [encoder.whole(text) for text in chunk]
        padded, lengths = ops.array(pad(tokens, encoder.pad)), [len(ids) for ids in tokens]
        states = [composed.model.hidden(rows, padded)]
        states += [composed.model.frozen_states(padded)[0]] if composed.model.frozen_blocks else []
        found = [ops.numpy(s) for s in states]
        for i, (text, length) in enumerate(zip(chunk, lengths, strict=True)):
            known[text] = np.concatenate([unit(s[i, :length].mean(0)) for s in found])
        advance(len(chunk))
    return known


def measure(
    name: str, settings: Settings, drawn: Sequence[Episode], known: Features, middle: np.ndarray
) -> evaluate.Curves:
    """Loss, accuracy and F1, each (E,), of one classifier; `middle` (d,) is the mean feature of the training tasks."""
    found = [_one(METHODS[name], settings, episode, known, middle) for episode in drawn]
    return {key: np.concatenate([f[key] for f in found]) for key in found[0]}


def tune(name: str, drawn: Sequence[Episode], known: Features, middle: np.ndarray) -> Settings:
    """The settings of the grid with the best accuracy on these episodes, then the least loss."""
    grid = GRIDS[name]
    options = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def worth(settings: Settings) -> tuple[float, float]:
        found = measure(name, settings, drawn, known, middle)
        return float(found["accuracy"].mean()), -float(found["loss"].mean())

    return max(options, key=worth)


def _one(
    method: Any, settings: Settings, episode: Episode, known: Features, middle: np.ndarray
) -> dict[str, np.ndarray]:
    place = {label: c for c, label in enumerate(episode.labels)}
    support = np.stack([known[e.text] for e in episode.support]).astype(np.float64)
    query = np.stack([known[e.text] for e in episode.query]).astype(np.float64)
    classes = np.array([place[e.label or ""] for e in episode.support])
    answers = np.array([place.get(e.label or "", -1) for e in episode.query])
    probabilities = method(support, classes, query, len(place), middle, **settings)
    onehot = (answers[:, None] == np.arange(len(place))).astype(np.float64)
    return classified(probabilities[None], onehot[None], np.ones((1, len(answers))))


def prototypes(
    support: np.ndarray,
    classes: np.ndarray,
    query: np.ndarray,
    ways: int,
    middle: np.ndarray,
    *,
    center: str,
    temperature: float,
) -> np.ndarray:
    """Probabilities (Q, N) from cosines to class means, after taking a mean feature away."""
    away = {"none": 0.0, "support": support.mean(0), "training": middle}[center]
    means = np.stack([(support - away)[classes == c].mean(0) for c in range(ways)])
    return softmax(temperature * unit(query - away) @ unit(means).T)


def logistic_regression(
    support: np.ndarray, classes: np.ndarray, query: np.ndarray, ways: int, middle: np.ndarray, *, scale: str, C: float
) -> np.ndarray:
    """Probabilities (Q, N) of scikit-learn's logistic regression on features scaled per number, or to length 1."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MelpaError(
            "the baseline logistic_regression needs scikit-learn; install it with: pip install 'mlx-melpa[baselines]', "
            "or name others with --methods"
        ) from error
    if scale == "length":
        support, query = unit(support), unit(query)
    else:
        mean, spread = support.mean(0), support.std(0) + 1e-6
        support, query = (support - mean) / spread, (query - mean) / spread
    model = LogisticRegression(C=C, max_iter=300, tol=1e-3).fit(support, classes)
    found = np.zeros((len(query), ways))
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


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "prototypes": prototypes,
    "logistic_regression": logistic_regression,
}
