"""Methods with several rows, of which a text's features on the frozen start say who answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ....core.types import Array, Episode, Example
from ....evaluation.baselines.frozen_features import Features, features
from .method import Lesson, Method, Start, State
from .separate import Separate


class Routed(Separate, ABC):
    """p(y | x) = sum_r s_r(x) p(y | x, w_r): shares s of rows, from the features of x alone.

    The known task gives the candidates and their class means, taken under the row that learned them; which row reads
    the text is for the features to say. A row without a share in any text is not run.
    """

    ordered = True

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks)
        self.known_features: Features = {}

    @abstractmethod
    def shares(self, state: State, x: np.ndarray) -> np.ndarray:
        """The rows' shares (n, R) in the answers for texts with features x (n, d)."""

    def predict(self, state: State, asked: Lesson) -> Array:
        """Probabilities (1, n, N) of a task's labels, mixed; the start's while nothing is learned."""
        if not state.labels:
            return super().predict(Method.begin(self), asked)
        name, order = asked.task.name, self.ops.numpy(asked.test["order"]).astype(int)
        shares = self.shares(state, self.features(asked.task.test))[order]
        found: Array = 0.0
        for r in np.flatnonzero(shares.any(0)):
            row = state.rows[int(r) : int(r) + 1]
            means = state.means[name] if name in state.means else self.means(row, asked)
            answers = self.problem.predict(row, {**asked.test, **self.recalled(means)})
            found = found + answers * self.ops.array(shares[None, :, r, None])
        return found

    def features(self, examples: Sequence[Example]) -> np.ndarray:
        """Features (n, d) of examples' texts under the start's row, which never moves; each text's are taken once."""
        texts = [Episode("", tuple(examples), ())]
        features(self.start.composed, Method.begin(self).rows, texts, self.known_features)
        return np.stack([self.known_features[example.text] for example in examples])
