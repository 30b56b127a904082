"""Methods with several rows and a router: a text's features on the frozen model give the rows' weights."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ....core.types import Array, Episode, Example
from ....evaluation.baselines.frozen_features import Features, features
from .method import EncodedTask, Initialization, Method, State
from .single_task import SingleTask


class Routed(SingleTask, ABC):
    """p(y | x) = sum_r s_r(x) p(y | x, w_r): weights s of the rows, from the features of x alone.

    The known task gives the candidates and their class means, taken under the row that learned them; the features
    decide which row reads the text. A row with weight 0 for all texts is not run.
    """

    ordered = True

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks)
        self.known_features: Features = {}

    @abstractmethod
    def routing(self, state: State, x: np.ndarray) -> np.ndarray:
        """The weights (n, R) of the rows for texts with features x (n, d)."""

    def predict(self, state: State, asked: EncodedTask) -> Array:
        """Probabilities (1, n, N) of a task's labels, mixed; those of the initialization before the first task."""
        if not state.labels:
            return super().predict(Method.begin(self), asked)
        order = self.ops.numpy(asked.test["order"]).astype(int)
        weights = self.routing(state, self.features(asked.task.test))[order]
        mixed: Array = 0.0
        for r in np.flatnonzero(weights.any(0)):
            answers = self.answers(state.rows[int(r) : int(r) + 1], asked, state.means.get(asked.task.name))
            mixed = mixed + answers * self.ops.array(weights[None, :, r, None])
        return mixed

    def features(self, examples: Sequence[Example]) -> np.ndarray:
        """Features (n, d) of texts under the row of the initialization; computed once per text."""
        texts = [Episode("", tuple(examples), ())]
        features(self.start.setup, texts, self.known_features)
        return np.stack([self.known_features[example.text] for example in examples])
