"""What a continual benchmark is told: methods, streams, steps; and the jobs that come of it."""

from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from ...config.recipe import Recipe
from ...core.types import Example
from ...errors import MelpaError
from ...evaluation.perplexity import plain
from ...store.run import Run
from .methods import KINDS
from .methods.lwf import Lwf
from .methods.method import Method
from .protocol import PROTOCOLS, Ask
from .tasks import Stream

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
    stores of a task. protocol: what is asked (see `continual_protocol`). corpus: the text of general ability, the
    package's own if None.
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
    protocol: str = "known"
    corpus: Path | None = None
    out: Path | None = None

    def jobs(self) -> list[Job]:
        """All streams to learn; a method that knows no order takes the first one only."""
        unknown = [name for name in self.methods if name not in KINDS]
        if unknown:
            raise MelpaError(f"--methods: '{unknown[0]}' is no method; choose from {', '.join(KINDS)}")
        asking = [name for name in self.methods if not self.stream.labelled and not writes(name)]
        if asking:
            able = ", ".join(filter(writes, KINDS))
            raise MelpaError(
                f"--methods: '{asking[0]}' answers with labels, and these tasks are texts; choose from {able}"
            )
        beside = [name for name in self.methods if kind(name).blocks and not self.lora]
        if beside:
            raise MelpaError(f"--methods: '{beside[0]}' puts LoRA beside LoRA, and this adapter is none; leave it out")
        if not self.stream.labelled and self.protocol != "known":
            raise MelpaError(f"--protocol {self.protocol}: texts have no labels to choose from; leave it out")
        found = []
        for seed, name, start in product(range(self.seeds), self.methods, self.starts):
            if start == "random" or not kind(name).blocks:
                found += [Job(name, start, o, seed) for o in range(self.orders if kind(name).ordered else 1)]
        return found

    def pieces(self) -> int:
        """How often `learn` is called over all streams."""
        return sum(1 if kind(job.method).at_once else len(self.stream.groups) for job in self.jobs())

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing, the mean over tasks; of the last one among all labels. None for texts."""
        groups = self.stream.groups.values()
        if not self.stream.labelled:
            return None
        if self.protocol == "all":
            return 1 / len({label for labels in groups for label in labels})
        return sum(1 / len(labels) for labels in groups) / len(groups)

    @property
    def lora(self) -> bool:
        """Says whether the adapter is LoRA."""
        return bool(self.recipe.resolved["adapter"]["kind"] == "lora")

    @property
    def measure(self) -> str:
        """What R holds: accuracy, or bits_per_byte, of which less is better."""
        return "accuracy" if self.stream.labelled else "bits_per_byte"

    @property
    def sign(self) -> int:
        """-1 where less is better."""
        return 1 if self.stream.labelled else -1

    @property
    def ask(self) -> Ask:
        """What is asked after each task."""
        return PROTOCOLS[self.protocol]

    @property
    def texts(self) -> tuple[Example, ...]:
        """The texts of general ability."""
        return plain() if self.corpus is None else plain(self.corpus)

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
            "protocol": self.protocol,
            "measure": self.measure,
            "corpus": sha256(repr([example.target for example in self.texts]).encode()).hexdigest()[:16],
        }


def kind(name: str) -> type[Method]:
    """The class that a method's builder returns."""
    found: type[Method] = get_type_hints(KINDS[name])["return"]
    return found


def writes(name: str) -> bool:
    """Says whether a method needs no labels: the row alone answers, and no answers are distilled."""
    method = kind(name)
    return method.predict is Method.predict and not issubclass(method, Lwf)
