"""The methods that an evaluation compares: each tunes its settings, measures tasks and tells its costs."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from importlib.util import find_spec
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from ..config.build import Setup
from ..core.types import Episode, Json, Tree
from . import costs, text_overlap
from .baselines import frozen_features
from .baselines.in_context import InContextSettings, impossible
from .baselines.successive_halving import FIRST_RATE, SCHEDULE, Search
from .curves import Measured, Measures, TaskBatch, along_steps, joined
from .evaluation import Evaluation

Settings = Json
"""The settings of a method."""
Key = TypeVar("Key", bound=Hashable)
SAME, BEST = "same_steps", "best_steps"
"""Variants of a method that takes steps: as many as the run, and the best number."""


class Method(ABC):
    """One method: it tunes its settings on the validation episodes, and is measured on batches of test episodes."""

    name: ClassVar[str]
    title: ClassVar[str]
    needs_labels: ClassVar[bool] = False
    tunes: ClassVar[bool] = True
    adapts: ClassVar[bool] = False
    """True if it takes gradient steps, which take time and may do harm."""
    tunes_steps: ClassVar[bool] = False
    """True if it tunes its number of steps too: its variants are SAME and BEST."""

    def lacks_package(self) -> str:
        """The package that is not installed, with the remedy; empty if nothing is missing."""
        return ""

    def lacks(self, evaluation: Evaluation) -> str:
        """Why it can't be measured; empty if it can."""
        return self.lacks_package()

    @abstractmethod
    def tune(self, evaluation: Evaluation) -> dict[str, Settings]:
        """The settings of each variant; most methods have the one variant SAME."""

    @abstractmethod
    def measure(
        self, evaluation: Evaluation, batch: TaskBatch, settings: Settings, every_step: bool = False
    ) -> Measured:
        """The measures of a batch's tasks after the last step; with `every_step` also at the usual steps before."""

    @abstractmethod
    def cost(self, evaluation: Evaluation, settings: Settings) -> costs.Costs:
        """The costs of one user, as means or medians over a few test episodes (see `costs`)."""

    def write(self, evaluation: Evaluation, settings: Settings, episodes: Sequence[Episode]) -> text_overlap.Overlaps:
        """BLEU and ROUGE-L of one text for each episode."""
        return {}


class _Classifier(Method):
    """A classifier on frozen features."""

    needs_labels = True

    def tune(self, evaluation: Evaluation) -> dict[str, Settings]:
        tasks = evaluation.feature_tasks(evaluation.validation)
        return {SAME: frozen_features.tune(self.name, tasks)}

    def measure(
        self, evaluation: Evaluation, batch: TaskBatch, settings: Settings, every_step: bool = False
    ) -> Measured:
        tasks = evaluation.feature_tasks(batch.episodes)
        return _at_once(frozen_features.measure(self.name, settings, tasks))

    def cost(self, evaluation: Evaluation, settings: Settings) -> costs.Costs:
        return costs.of_classifier(self.name, settings, evaluation.setup, evaluation.test)


class Prototypes(_Classifier):
    """Cosines to class means of frozen features."""

    name, title = "prototypes", "prototypes on frozen features"


class LogisticRegression(_Classifier):
    """Logistic regression on frozen features."""

    name, title = "logistic_regression", "logistic regression on frozen features"

    def lacks_package(self) -> str:
        found = find_spec("sklearn")
        return "" if found else "it needs scikit-learn; install it with: pip install 'mlx-melpa[baselines]'"


class ExamplesInContext(Method):
    """The support set is written before each question, and nothing is adapted."""

    name, title = "in_context", "examples in context"

    def lacks(self, evaluation: Evaluation) -> str:
        return impossible(evaluation.setup, evaluation.test)

    def tune(self, evaluation: Evaluation) -> dict[str, Settings]:
        return {SAME: evaluation.in_context.tune(evaluation.validation, evaluation.main)._asdict()}

    def measure(
        self, evaluation: Evaluation, batch: TaskBatch, settings: Settings, every_step: bool = False
    ) -> Measured:
        return _at_once(evaluation.in_context.measure(batch.episodes, InContextSettings(**settings)))

    def cost(self, evaluation: Evaluation, settings: Settings) -> costs.Costs:
        return costs.of_context(evaluation.in_context, evaluation.test, InContextSettings(**settings))

    def write(self, evaluation: Evaluation, settings: Settings, episodes: Sequence[Episode]) -> text_overlap.Overlaps:
        return text_overlap.in_context(evaluation.in_context, episodes, settings["examples"])


class _Steps(Method):
    """Gradient steps from a start."""

    adapts = True

    @abstractmethod
    def start(self, evaluation: Evaluation, settings: Settings) -> tuple[Setup, Tree]:
        """The setup that adapts, and the parameters theta of its start."""

    def eval_steps(self, steps: int) -> Sequence[int]:
        """The numbers of steps on the way at which a curve is measured."""
        return SCHEDULE.eval_steps(steps, steps)

    def measure(
        self, evaluation: Evaluation, batch: TaskBatch, settings: Settings, every_step: bool = False
    ) -> Measured:
        setup, theta = self.start(evaluation, settings)
        steps = settings["steps"]
        between = self.eval_steps(steps) if every_step else ()
        return along_steps(setup.parts, theta, batch, sorted({0, *between, steps}))

    def cost(self, evaluation: Evaluation, settings: Settings) -> costs.Costs:
        return costs.of_steps(*self.start(evaluation, settings), evaluation.test, settings["steps"])

    def write(self, evaluation: Evaluation, settings: Settings, episodes: Sequence[Episode]) -> text_overlap.Overlaps:
        return text_overlap.adapted(*self.start(evaluation, settings), episodes, settings["steps"])


class Base(_Steps):
    """The frozen model with the readout at its start."""

    name, title = "base", "base"
    tunes = adapts = False

    def tune(self, evaluation: Evaluation) -> dict[str, Settings]:
        return {SAME: {"steps": 0}}

    def start(self, evaluation: Evaluation, settings: Settings) -> tuple[Setup, Tree]:
        return evaluation.with_adam(), evaluation.random_start


class RandomStart(_Steps):
    """Adam from a random start, its rate and number of steps tuned (see `successive_halving`)."""

    name, title = "random_start", "random start"
    tunes_steps = True

    def tune(self, evaluation: Evaluation) -> dict[str, Settings]:
        def advance(amount: float = 1, text: str = "", /) -> None:
            evaluation.advance(0, f"tuning {self.title}: {text}")

        _, theta = self.start(evaluation, {})
        batches = evaluation.validation_batches
        search = Search(evaluation.setup, theta, batches, evaluation.main, SCHEDULE, advance)
        same, best = search.tune(evaluation.steps)
        return {SAME: same._asdict(), BEST: best._asdict()}

    def start(self, evaluation: Evaluation, settings: Settings) -> tuple[Setup, Tree]:
        return evaluation.with_adam(settings.get("lr", FIRST_RATE)), evaluation.random_start


class MultiTask(RandomStart):
    """Adam from a row that was trained on all training tasks jointly (see `baselines.multi_task`)."""

    name, title = "multi_task", "multi-task"

    def start(self, evaluation: Evaluation, settings: Settings) -> tuple[Setup, Tree]:
        theta = {**evaluation.theta, "rule": {}, "regularizer": {}}
        return evaluation.with_adam(settings.get("lr", FIRST_RATE)), theta


class Meta(_Steps):
    """The meta-learned start, rule and regularizer."""

    name, title = "meta", "meta-learned"
    tunes = False

    def tune(self, evaluation: Evaluation) -> dict[str, Settings]:
        return {SAME: {"steps": evaluation.steps}}

    def start(self, evaluation: Evaluation, settings: Settings) -> tuple[Setup, Tree]:
        return evaluation.setup, evaluation.theta

    def eval_steps(self, steps: int) -> Sequence[int]:
        return range(steps)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Base(),
        Prototypes(),
        LogisticRegression(),
        ExamplesInContext(),
        RandomStart(),
        MultiTask(),
        Meta(),
    )
}


class Plan(NamedTuple):
    """A method with its settings, and whether it is measured at the usual steps on the way too."""

    method: Method
    settings: Settings
    every_step: bool = False


def measure(evaluation: Evaluation, plans: Mapping[Key, Plan]) -> dict[Key, Measured]:
    """Measures all plans on the same test episodes, each batch of which is encoded once."""
    found: dict[Key, list[Measured]] = {key: [] for key in plans}
    for batch in evaluation.test_batches():
        for key, plan in plans.items():
            found[key].append(plan.method.measure(evaluation, batch, plan.settings, plan.every_step))
        evaluation.advance(len(batch.episodes))
    return {key: joined(parts) for key, parts in found.items()}


def _at_once(measures: Measures) -> Measured:
    """The measures of a method without steps."""
    return Measured((0,), {name: np.asarray(values)[None] for name, values in measures.items()})
