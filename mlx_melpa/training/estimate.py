"""The cost of a recipe on this machine, from a few measured iterations."""

from dataclasses import asdict, dataclass, replace
from functools import partial

from ..backends.base import BaseModel
from ..config.build import compose
from ..config.recipe import Recipe
from ..config.train_settings import TrainSettings
from ..core.types import Splits
from ..evaluation.timing import timed
from .outer_loop import OuterLoop

MIN_ITERATIONS, MIN_SECONDS = 4, 2.0
"""Measuring goes on until both are reached."""
MAX_ITERATIONS, MAX_SECONDS = 500, 20.0
"""Measuring ends as soon as one of them is reached."""
GOLDEN = 0.618034
"""Multiples of it, modulo 1, fill an interval evenly however many are taken."""
VALIDATION_EPISODES, METRIC_EPISODES = 4, 8
"""Episodes of each kind that are measured."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one iteration, one validation episode and one metric episode; bytes at the peak."""

    iterations: int
    iteration: float
    validation: float
    metric_episode: float
    memory: int
    tasks_per_pass: int
    seconds: float = 0.0

    def total(self, s: TrainSettings, metric_episodes: int) -> float:
        """The seconds of a training whose metric is initialized from so many episodes."""
        validated = -(-s.iterations // s.validate_every) * s.validation_episodes
        return s.iterations * self.iteration + validated * self.validation + metric_episodes * self.metric_episode

    def to_json(self) -> dict[str, float]:
        """All numbers by name."""
        return asdict(self)


def estimate(recipe: Recipe, base: BaseModel | None = None) -> Estimate:
    """Runs a few iterations, whose results are discarded, and sums up the whole recipe. Writes nothing.

    The first iteration only warms up. Raises what `meta_train` raises.
    """
    splits: Splits = recipe.make("tasks")
    recipe = recipe.for_tasks(splits)
    setup = compose(recipe, base)
    try:
        return _measured(OuterLoop(recipe, setup, splits))
    finally:
        if setup.model is not None:
            setup.model.detach()


def _measured(loop: OuterLoop) -> Estimate:
    s, ops, metric = loop.settings, loop.ops, loop.metric_episodes
    loop.choose_tasks_per_pass()
    ops.reset_peak_memory()
    loop.step(0)
    times: list[float] = []
    while len(times) < MIN_ITERATIONS or sum(times) < MIN_SECONDS:
        # all over meta-training, which a learner may end at another cost than it began
        iteration = int(GOLDEN * len(times) % 1 * s.iterations)
        times.append(timed(partial(loop.step, iteration))[1])
        if sum(times) > MAX_SECONDS or len(times) == MAX_ITERATIONS:
            break
    validated = min(max(VALIDATION_EPISODES, loop.ranks), s.validation_episodes)
    few = min(METRIC_EPISODES, metric)
    found = Estimate(
        iterations=s.iterations,
        iteration=sum(times) / len(times),
        validation=timed(lambda: loop.validate(validated))[1] / validated,
        metric_episode=timed(lambda: loop.init_metric(few))[1] / few if few else 0.0,
        memory=ops.peak_memory(),
        tasks_per_pass=loop.passes.size,
    )
    return replace(found, seconds=found.total(s, metric))
