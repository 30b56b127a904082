"""The settings of a continual benchmark, and the streams to learn that follow from them."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import NamedTuple

from ...config.recipe import Recipe
from ...core.types import Example, Json
from ...errors import MelpaError
from ...evaluation.perplexity import general_texts
from ...store.run import Run
from .methods import KINDS, RENAMED
from .methods.lwf import Lwf
from .methods.method import Method
from .tasks import Stream


class Job(NamedTuple):
    """One stream to learn: a method, where it starts ("random" or a run's name), an order and a seed."""

    method: str
    start: str
    order: int
    seed: int

    @property
    def key(self) -> str:
        """The key of its result."""
        return f"streams/{self.method}.{self.start}.order{self.order}.seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured.

    recipe: the adapter and readout of all methods, those of the run if there is one. run: methods begin from it too.
    methods: all that fit unless given. steps: of each task. rates: of a random start; several are tuned (see
    `tuning.py`). buffer: examples that replay stores of a task. scenario: see `scenarios.py`. corpus: the text for
    general ability, the package's own if None.
    """

    recipe: Recipe
    stream: Stream
    run: Run | None = None
    methods: tuple[str, ...] = ()
    orders: int = 5
    seeds: int = 3
    steps: int = 20
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2)
    buffer: int = 50
    scenario: str = "task-incremental"
    corpus: Path | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        for name in self.methods:
            reason = self.reason_against(name)
            if reason:
                raise MelpaError(f"--methods: {reason}")
        if not self.stream.labelled and self.scenario != "task-incremental":
            raise MelpaError(f"--scenario {self.scenario}: texts have no labels to choose from; leave it out")

    def reason_against(self, name: str) -> str | None:
        """The reason why a method can't be measured here, with the remedy; None if it can."""
        if name in RENAMED:
            return f"'{name}' is now '{RENAMED[name]}'"
        if name not in KINDS:
            return f"'{name}' is no method; choose from {', '.join(KINDS)}"
        if not self.stream.labelled and not writes(name):
            able = ", ".join(filter(writes, KINDS))
            return f"'{name}' answers with labels, and these tasks are texts; choose from {able}"
        if KINDS[name].block_per_task and self.recipe.kind("adapter") != "lora":
            return f"'{name}' puts LoRA beside LoRA, and this adapter is none; leave it out"
        return None

    @cached_property
    def jobs(self) -> list[Job]:
        """All streams to learn; only the first order for a method whose results don't depend on it."""
        methods = self.methods or [name for name in KINDS if self.reason_against(name) is None]
        starts = ("random", self.run.name) if self.run else ("random",)
        jobs = []
        for seed, name, start in product(range(self.seeds), methods, starts):
            if start == "random" or not KINDS[name].block_per_task:
                orders = self.orders if KINDS[name].ordered else 1
                jobs += [Job(name, start, order, seed) for order in range(orders)]
        return jobs

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing, the mean over tasks; of the last one among all labels. None for texts."""
        groups = self.stream.groups.values()
        if not self.stream.labelled:
            return None
        if self.scenario == "class-incremental":
            return 1 / len({label for labels in groups for label in labels})
        return sum(1 / len(labels) for labels in groups) / len(groups)

    @property
    def measure(self) -> str:
        """What R holds: accuracy, or bits_per_byte, of which less is better."""
        return "accuracy" if self.stream.labelled else "bits_per_byte"

    @property
    def sign(self) -> int:
        """-1 where less is better."""
        return 1 if self.stream.labelled else -1

    @cached_property
    def texts(self) -> tuple[Example, ...]:
        """The texts of general ability."""
        return general_texts() if self.corpus is None else general_texts(self.corpus)

    def identity(self) -> Json:
        """What all results of one folder have in common."""
        examples = repr([(name, labels) for name, labels in self.stream.groups.items()])
        texts = repr([example.target for example in self.texts])
        return {
            "recipe": {key: self.recipe.resolved[key] for key in ("model", "adapter", "readout", "backend")},
            "run": self.run.fingerprint if self.run else None,
            "tasks": list(self.stream.groups),
            "examples": sha256(examples.encode()).hexdigest()[:16],
            "shots": self.stream.shots,
            "queries": self.stream.queries,
            "steps": self.steps,
            "rates": list(self.rates),
            "buffer": self.buffer,
            "scenario": self.scenario,
            "measure": self.measure,
            "corpus": sha256(texts.encode()).hexdigest()[:16],
        }


def writes(name: str) -> bool:
    """True if a method needs no labels: it predicts with its row alone and distils no answers."""
    method = KINDS[name]
    return method.predict is Method.predict and not issubclass(method, Lwf)
