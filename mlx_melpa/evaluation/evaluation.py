"""The inputs of one evaluation that its methods share: a built recipe, its start, and the episodes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..config.build import Setup
from ..core.progress import Advance, silent
from ..core.types import Episode, Tree
from .baselines.frozen_features import Features, FeatureTask, features
from .baselines.in_context import InContext
from .baselines.successive_halving import FIRST_RATE
from .curves import TaskBatch, task_batches


@dataclass
class Evaluation:
    """Methods are measured on the episodes `test` and tuned on `validation`.

    setup, theta: what meta-learning or multi-task training gave. steps: the inner steps of the run, which baselines at
    equal steps take too. seed: that of the random start.
    """

    setup: Setup
    theta: Tree
    test: Sequence[Episode]
    validation: Sequence[Episode] = ()
    steps: int = 1
    seed: int = 0
    tasks_per_pass: int = 4
    advance: Advance = silent
    _with_adam: dict[float, Setup] = field(default_factory=dict, init=False)
    _features: Features = field(default_factory=dict, init=False)

    @property
    def classifies(self) -> bool:
        """True if the answers are labels."""
        return self.setup.model is not None and bool(self.setup.readout.classifies)

    @property
    def main(self) -> str:
        """The measure that the comparison is about."""
        if self.setup.model is None:
            return "loss"
        return "accuracy" if self.classifies else "bits_per_byte"

    def test_batches(self) -> Iterator[TaskBatch]:
        """The test episodes in batches, each of which is encoded once for all methods."""
        return task_batches(self.setup.parts.problem, self.test, self.tasks_per_pass)

    @cached_property
    def validation_batches(self) -> list[TaskBatch]:
        """The validation episodes in batches."""
        return list(task_batches(self.setup.parts.problem, self.validation, self.tasks_per_pass))

    def with_adam(self, lr: float = FIRST_RATE) -> Setup:
        """The same setup with Adam as its rule, without anything that was meta-learned."""
        if lr not in self._with_adam:
            self._with_adam[lr] = self.setup.random_start(lr)
        return self._with_adam[lr]

    @cached_property
    def random_start(self) -> Tree:
        """A random start for Adam."""
        return self.with_adam().begin(self.seed)

    @cached_property
    def in_context(self) -> InContext:
        """The base model that reads examples before each question."""
        return InContext(self.setup)

    def feature_tasks(self, episodes: Sequence[Episode]) -> list[FeatureTask]:
        """Episodes as features of the frozen base; each text is read once."""
        center = self._validation_center
        self._read(episodes)
        return [FeatureTask.of(episode, self._features, center) for episode in episodes]

    def _read(self, episodes: Sequence[Episode]) -> None:
        features(self.setup, episodes, self._features)

    @cached_property
    def _validation_center(self) -> np.ndarray:
        """The mean feature (d,) of the validation texts; empty without any."""
        self._read(self.validation)
        return np.mean(list(self._features.values()), axis=0) if self._features else np.zeros(0)
