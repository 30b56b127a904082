"""What a recipe will cost on this machine: a few of its own iterations, measured before it begins."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from .compose import Composition, compose, readout_for
from .recipe import Recipe
from .train import Trainer
from .train_settings import TrainSettings

STEPS, SECONDS = 4, 3.0
"""Iterations that are measured at least, and for how long at least."""
CHECKED, PRIMED = 4, 8
"""Validation episodes and priming episodes that are measured."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one iteration, of one validation episode, of one priming episode and in all; bytes at the peak."""

    iterations: int
    iteration: float
    validation: float
    priming: float
    seconds: float
    memory: int
    tasks_per_pass: int

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
    while len(times) < min(STEPS, s.iterations) or (sum(times) < SECONDS and len(times) < s.iterations):
        times.append(_seconds(trainer.step))
    iteration = sum(times) / len(times)
    checks, trainer.checks = len(trainer.checks), trainer.checks[: max(CHECKED, trainer.ranks)]
    validation = _seconds(trainer.check) / len(trainer.checks)
    count = getattr(composed.parts.problem, "primed", 0)
    few = min(PRIMED, count)
    priming = _seconds(lambda: trainer.primed(few)) / few if few else 0.0
    rounds = -(-s.iterations // s.validate_every)
    seconds = s.iterations * iteration + rounds * checks * validation + count * priming
    size = trainer.passes.size
    return Estimate(s.iterations, iteration, validation, priming, seconds, ops.peak_memory(), size)


def _seconds(work: Any) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
