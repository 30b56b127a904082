"""The cases that are verified: which kinds stand together on which toy problem."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..config.kinds import kind_class, kinds
from ..config.schema import build
from ..core.bases import Settings
from ..core.engine import Engine
from ..core.protocols import Components, Learner, Problem
from ..core.types import Batch, Tree
from ..errors import RecipeError
from ..evaluation.streams import prepare
from .toys import Episodes, Letters, curves, words

STEPS = 3
NOISE = 0.1
"""Added to a start, whose zeros would leave other parameters without a gradient."""


class Choice(NamedTuple):
    """A kind with the settings of one of its instances; the first bears the kind's name alone."""

    part: str
    kind: str
    number: int = 0

    @property
    def settings(self) -> Settings:
        """The instance's settings."""
        settings: Settings = kind_class(self.part, self.kind).verify_with[self.number]
        return settings

    def __str__(self) -> str:
        first = Choice(self.part, self.kind).settings
        own = [f"{name}={value}" for name, value in self.settings.items() if first.get(name) != value]
        return " ".join([self.kind, *own])

    def build(self, *given: Any) -> Any:
        """Builds the instance."""
        return build(kinds(self.part)[self.kind], given, self.settings)


def choices(part: str) -> list[Choice]:
    """All instances of all kinds of a part."""
    table = kinds(part)
    named = {builder: kind for kind, builder in table.items()}  # a kind's earlier name is another key of its builder
    first = [kind for kind, builder in table.items() if named[builder] == kind]
    return [Choice(part, kind, i) for kind in first for i in range(len(kind_class(part, kind).verify_with))]


RULE, REGULARIZER, INITIALIZER = (
    Choice("rule", "meta_sgd"),
    Choice("regularizer", "none"),
    Choice("initializer", "universal"),
)
ADAPTER, READOUT = Choice("adapter", "lora"), Choice("readout", "linear")
"""The kinds beside the one that a case verifies."""


class Built(NamedTuple):
    """A learner on its parts, with theta and two tasks or streams as batches; `problem` names the toy."""

    problem: str
    learner: Learner
    parts: Components
    theta: Tree
    support: Batch
    query: Batch


@dataclass(frozen=True)
class Case:
    """Kinds that are verified together, with every learner that they suit.

    Without an adapter the problem is the sine curves, or the words under LoRA if these parts refuse the curves.
    """

    rule: Choice = RULE
    regularizer: Choice = REGULARIZER
    initializer: Choice = INITIALIZER
    adapter: Choice | None = None
    readout: Choice = READOUT
    streamed: bool = False

    @property
    def learners(self) -> list[Choice]:
        """Every learner; their further instances on the words alone, under the plain kinds."""
        plain = (self.adapter, self.readout) == (ADAPTER, READOUT)
        return [choice for choice in choices("learner") if plain or not choice.number]

    def build(self, learner: Choice, ops: Engine, seed: int) -> Built:
        """Builds the parts for a learner; raises RecipeError where it can't learn with them."""
        if self.adapter is None:
            try:
                return self._on("curves", *curves(ops, seed, self.streamed), learner, ops, seed)
            except RecipeError:
                pass
        adapter = self.adapter or ADAPTER
        problem, episodes = words(ops, seed, adapter.build(), self.readout.build(ops, Letters()), self.streamed)
        return self._on(f"{adapter}, {self.readout}", problem, episodes, learner, ops, seed)

    def _on(self, name: str, problem: Problem, episodes: Episodes, learner: Choice, ops: Engine, seed: int) -> Built:
        freeze = kind_class("learner", learner.kind).freeze
        problem = problem.with_layout(freeze(problem.acting_layout, learner.settings))
        initializer = self.initializer.build(ops, problem)
        problem = problem.with_decoder(initializer.decoder)
        rule, regularizer = self.rule.build(ops, problem.layout), self.regularizer.build(ops)
        parts = Components(ops, problem, initializer, rule, regularizer)
        return train(name, learner, parts, noisy(parts, seed), episodes)


def train(name: str, learner: Choice, parts: Components, theta: Tree, episodes: Episodes) -> Built:
    """The learner half way through meta-training; raises RecipeError where it can't train these parts."""
    made = kinds("learner")[learner.kind](parts, steps=STEPS, **learner.settings).at(0.5)
    streamed = isinstance(episodes[0], tuple)
    if (parts.initializer.decoder and "rule" not in made.trains) or (streamed and not made.streams):
        raise RecipeError(f"learner {learner.kind} can't train these parts")
    return Built(name, made, parts, theta, *prepare(parts.problem, episodes))


def noisy(parts: Components, seed: int, noise: float = NOISE) -> Tree:
    """Theta at a random start with noise added to it."""
    rng = np.random.default_rng([seed, 0])
    row, shared = parts.problem.init(rng)
    start = {"initializer": parts.initializer.init(rng, row), "problem": shared}
    return {
        **parts.ops.map_tree(lambda x: x + noise * parts.ops.array(rng.standard_normal(x.shape)), start),
        "rule": parts.rule.init(parts.problem.layout),
        "regularizer": parts.regularizer.init(parts.problem.layout),
    }


def cases() -> Iterator[Case]:
    """Every instance of every rule, regularizer, initializer, adapter and readout, beside plain kinds of the others."""
    l2 = Choice("regularizer", "l2")
    every = [Case(rule=rule, regularizer=l2) for rule in choices("rule")]
    for regularizer in choices("regularizer"):
        carries = kind_class("regularizer", regularizer.kind).carries
        every += [Case(regularizer=regularizer, streamed=streamed) for streamed in (False, True)[: 2 - carries]]
    every += [Case(initializer=initializer) for initializer in choices("initializer")]
    every += [Case(adapter=adapter) for adapter in choices("adapter")]
    every += [Case(adapter=ADAPTER, readout=readout) for readout in choices("readout")]
    every.append(Case(adapter=ADAPTER, readout=Choice("readout", "prototypes"), streamed=True))
    return iter(dict.fromkeys(every))
