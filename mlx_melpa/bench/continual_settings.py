"""What a continual benchmark is told: methods, streams, steps; and the jobs that come of it."""

from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from ..continual import KINDS
from ..continual.method import Method
from ..continual.streams import Stream
from ..errors import MelpaError
from ..recipe import Recipe
from ..run import Run

RATES = (3e-4, 1e-3, 3e-3, 1e-2)


class Trial(NamedTuple):
    """Adam's rate for a random start, and the strength of what holds the row, None where a method has none."""

    lr: float
    strength: float | None = None


class Job(NamedTuple):
    """One stream to learn: a method, where it starts, an order and a seed."""

    method: str
    start: str
    order: int
    seed: int

    @property
    def file(self) -> str:
        """The name of its result."""
        return f"{self.method}.{self.start}.order{self.order}.seed{self.seed}.json"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured.

    recipe: the adapter and readout of all methods, a run's own where there is one. run: methods begin from it too.
    steps: of each task. rates: of a random start; several are tuned (see `continual_tuning`). buffer: what replay
    stores of a task.
    """

    recipe: Recipe
    stream: Stream
    run: Run | None = None
    methods: tuple[str, ...] = tuple(KINDS)
    orders: int = 5
    seeds: int = 3
    steps: int = 20
    rates: tuple[float, ...] = RATES
    buffer: int = 50
    out: Path | None = None

    def jobs(self) -> list[Job]:
        """All streams to learn; a method that knows no order takes the first one only."""
        unknown = [name for name in self.methods if name not in KINDS]
        if unknown:
            raise MelpaError(f"--methods: '{unknown[0]}' is no method; choose from {', '.join(KINDS)}")
        found = []
        for seed, name, start in product(range(self.seeds), self.methods, self.starts):
            if start == "random" or not kind(name).blocks:
                found += [Job(name, start, o, seed) for o in range(self.orders if kind(name).ordered else 1)]
        return found

    def pieces(self) -> int:
        """How often `learn` is called over all streams."""
        return sum(1 if kind(job.method).at_once else len(self.stream.groups) for job in self.jobs())

    @property
    def chance(self) -> float:
        """The accuracy of guessing, the mean over tasks."""
        return sum(1 / len(labels) for labels in self.stream.groups.values()) / len(self.stream.groups)

    @property
    def starts(self) -> tuple[str, ...]:
        """Where methods begin."""
        return ("random", self.run.name) if self.run else ("random",)

    def identity(self) -> dict[str, Any]:
        """What results of one folder have in common."""
        texts = repr([(name, labels) for name, labels in self.stream.groups.items()])
        keys = ("model", "adapter", "readout", "backend")
        return {
            "recipe": {key: self.recipe.resolved[key] for key in keys},
            "run": self.run.fingerprint if self.run else None,
            "tasks": list(self.stream.groups),
            "examples": sha256(texts.encode()).hexdigest()[:16],
            "shots": self.stream.shots,
            "queries": self.stream.queries,
            "steps": self.steps,
            "rates": list(self.rates),
            "buffer": self.buffer,
        }


def kind(name: str) -> type[Method]:
    """The class that a method's builder returns."""
    found: type[Method] = get_type_hints(KINDS[name])["return"]
    return found
