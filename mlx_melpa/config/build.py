"""The parts of a recipe put together: where the folders of methods meet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Components, Learner
from ..core.types import Splits, Tree
from ..errors import MelpaError, RecipeError
from ..problems.language import description
from .kinds import kinds
from .recipe import Recipe

DRAWN = 20
"""Tasks that are looked at for a description: some may do without."""


@dataclass(frozen=True)
class Setup:
    """A built recipe. `base` and `model` (the base with its adapter) are None for problems without one.

    `free` is the layout of all weights before `frozen_layout`: a random start's steps update them all.
    """

    recipe: Recipe
    parts: Components
    learner: Learner
    free: Layout
    base: Any = None
    model: Any = None

    @property
    def ops(self) -> Engine:
        """The engine's operations."""
        return self.parts.ops

    @property
    def problem(self) -> Any:
        """The problem that is learned."""
        return self.parts.problem

    @property
    def layout(self) -> Layout:
        """The layout of a row."""
        return self.parts.problem.layout

    @property
    def readout(self) -> Any:
        """The readout of a language problem."""
        return self.problem.readout

    def begin(self, seed: int) -> Tree:
        """Draws theta, the parameters that meta-training learns."""
        rng = np.random.default_rng([seed, 0])
        row, shared = self.problem.init(rng)
        return {
            "initializer": self.parts.initializer.init(rng, row),
            "problem": shared,
            "rule": self.parts.rule.init(self.layout),
            "regularizer": self.parts.regularizer.init(self.layout),
        }

    def init_metric(self, theta: Tree, seed: int, episodes: Sequence[Any], size: int) -> Tree:
        """Theta with the readout's closed-form metric of training episodes, computed in passes of `size`."""
        row, _ = self.problem.init(np.random.default_rng([seed, 0]))
        return {**theta, "problem": self.problem.init_metric(row, theta["problem"], episodes, size)}

    def random_start(self, lr: float) -> "Setup":
        """The same problem with Adam at a rate, from a random start: nothing of it is meta-learned.

        A head in closed form is not learned: a random start begins with it too.
        """
        ops, problem = self.ops, self.problem.with_decoder(None).with_layout(self.free)
        rule = kinds("rule")["adam"](ops, problem.layout, lr=lr)
        start = "proto_head" if self.parts.initializer.closed else "universal"
        initializer = kinds("initializer")[start](ops, problem)
        parts = Components(ops, problem, initializer, rule, kinds("regularizer")["none"](ops))
        return replace(self, parts=parts)


def part_of(backend: str, module: str) -> Any:
    """A module of an engine, by the name that all of them have: ops, model, adapted, continued, generate.

    Raises MelpaError where the engine is not installed.
    """
    try:
        return import_module(f"..backends.{backend}.{module}", __package__)
    except ImportError as error:
        extra = " with: pip install 'mlx-melpa[torch]'" if backend == "torch" else ""
        other = "torch" if backend == "mlx" else "mlx"
        raise MelpaError(
            f"backend {backend} can't be used here ({error}); install it{extra}, or take --backend {other}"
        ) from error


def engine(name: str) -> Engine:
    """The operations of an engine, mlx or torch, installed: problems without a base compute with them too."""
    ops: Engine = part_of(name, "ops")
    ops.install()
    return ops


def load_base(recipe: Recipe, model: str | None = None) -> Any:
    """Loads the recipe's base model, or another one by name or folder; None where the recipe has none."""
    name = model or recipe.model
    return None if name is None else part_of(recipe.backend, "model").load(name)


def on_backend(recipe: Recipe, backend: str | None) -> Recipe:
    """The same recipe on a named engine; on its own where none is named."""
    return recipe.replace(backend=backend) if backend else recipe


def compose(recipe: Recipe, base: Any = None) -> Setup:
    """Builds a recipe's parts around a loaded base (loaded here if none is given).

    A recipe that names no readout gets prototypes. Raises RecipeError and ModelError.
    """
    recipe = recipe.with_readout("prototypes")
    backend = recipe.backend
    ops = engine(backend)
    model = head = None
    if recipe.model is not None:
        base = base or load_base(recipe)
        model = part_of(backend, "adapted").Adapted(base, recipe.make("adapter"))
        head = recipe.make("readout", ops, base.tokenizer)
        if reason := head.lacks(base):
            raise RecipeError(f"recipe {recipe.name}: {reason}")
        problem = recipe.make("problem", ops, model, head)
    else:
        problem = recipe.make("problem", ops)
    free = problem.acting_layout
    problem = problem.with_layout(recipe.frozen_layout(free))
    initializer = recipe.make("initializer", ops, problem)
    problem = problem.with_decoder(initializer.decoder)
    rule = recipe.make("rule", ops, problem.layout)
    regularizer = recipe.make("regularizer", ops)
    if reason := regularizer.lacks(head):
        raise RecipeError(f"recipe {recipe.name}: {reason}")
    parts = Components(ops, problem, initializer, rule, regularizer)
    learner = recipe.make("learner", parts)
    recipe.check_trains(learner, rule=rule, regularizer=regularizer)
    return Setup(recipe, parts, learner, free, base, model)


def check_descriptions(recipe: Recipe, splits: Splits) -> None:
    """Refuses tasks that nothing describes for an initializer that reads descriptions (RecipeError)."""
    if recipe.context == "support":
        return
    drawn = (splits.train.episode(np.random.default_rng(i)) for i in range(DRAWN))
    if not any(map(description, drawn)):
        raise RecipeError(
            f"recipe {recipe.name}: initializer.context: {recipe.context} reads a description of each task, and these "
            "texts have neither one nor labels; give their rows a field 'about' (tasks.about names another), or set "
            "initializer.context: support"
        )
