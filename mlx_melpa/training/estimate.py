"""What a recipe will cost on this machine: a few of its own iterations, measured before it begins."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from ..config.build import Composition, compose, readout_for
from ..config.recipe import Recipe
from ..config.train_settings import TrainSettings
from .trainer import Trainer

STEPS, SECONDS, LONG, MOST = 4, 2.0, 20.0, 500
"""Iterations that are measured at least, for how long at least; after LONG seconds, or MOST of them, it is enough."""
GOLDEN = 0.618034
"""Multiples of it, modulo 1, fill an interval evenly however many are taken."""
CHECKED, PRIMED = 4, 8
"""Validation episodes and priming episodes that are measured."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one iteration, of one validation episode, of one priming episode and in all; bytes at the peak."""

    iterations: int
    iteration: float
    validation: float
    priming: float
    memory: int
    tasks_per_pass: int
    seconds: float = 0.0

    def of(self, s: TrainSettings, primed: int) -> float:
        """The seconds of a training that begins from `primed` episodes."""
        checked = -(-s.iterations // s.validate_every) * s.validation_episodes
        return s.iterations * self.iteration + checked * self.validation + primed * self.priming

    def to_json(self) -> dict[str, Any]:
        """All numbers by name."""
        return asdict(self)


def estimate(recipe: Recipe, base: Any = None) -> Estimate:
    """Runs a few iterations that are thrown away, and counts what the whole recipe comes to. Writes nothing.

    The first iteration only warms up. Raises what `meta_train` raises.
    """
    splits = recipe.make("tasks")
    composed = compose(recipe, base, "prototypes" if recipe.resolved["model"] is None else readout_for(splits))
    try:
        return _measured(recipe, composed, splits)
    finally:
        if composed.model is not None:
            composed.model.detach()


def _measured(recipe: Recipe, composed: Composition, splits: Any) -> Estimate:
    trainer = Trainer(recipe, composed, splits, Path("unused"))
    s: TrainSettings = trainer.settings
    ops = composed.parts.ops
    trainer.fit()
    ops.reset_peak_memory()
    trainer.step()
    times: list[float] = []
    while len(times) < STEPS or sum(times) < SECONDS:
        # all over meta-training, which a learner may end at another cost than it began
        trainer.progress.iteration = int(GOLDEN * len(times) % 1 * s.iterations)
        times.append(_seconds(trainer.step))
        if sum(times) > LONG or len(times) == MOST:
            break
    trainer.checks = trainer.checks[: max(CHECKED, trainer.ranks)]
    primed = getattr(composed.parts.problem, "primed", 0)
    few = min(PRIMED, primed)
    found = Estimate(
        iterations=s.iterations,
        iteration=sum(times) / len(times),
        validation=_seconds(trainer.check) / len(trainer.checks),
        priming=_seconds(lambda: trainer.primed(few)) / few if few else 0.0,
        memory=ops.peak_memory(),
        tasks_per_pass=trainer.passes.size,
    )
    return replace(found, seconds=found.of(s, primed))


def _seconds(work: Any) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
