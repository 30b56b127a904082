"""The parts of a recipe put together: where the folders of methods meet."""

from copy import copy
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from ..core.engine import Engine
from ..core.latent_rows import fitting, plain
from ..core.layout import Layout
from ..core.protocols import Learner, Parts
from ..core.types import Splits, Tree
from ..errors import MelpaError, RecipeError
from ..problems.language import described
from .kinds import kinds
from .recipe import Recipe

DRAWN = 20
"""Tasks that are looked at for a description: some may do without."""


@dataclass(frozen=True)
class Composition:
    """What a recipe builds. `base` and `model` (the base with its adapter) are None for problems without one.

    `free` is the layout of what has nothing to do with the learner: all that is a person's moves.
    """

    recipe: Recipe
    parts: Parts
    learner: Learner
    free: Layout
    base: Any = None
    model: Any = None

    @property
    def layout(self) -> Layout:
        """What a row's numbers are."""
        return self.parts.problem.layout

    @property
    def readout(self) -> Any:
        """The readout of a language problem."""
        problem: Any = self.parts.problem
        return problem.readout

    def begin(self, seed: int) -> Tree:
        """Draws theta, the parameters that meta-training learns."""
        rng = np.random.default_rng([seed, 0])
        return {
            "initializer": self.parts.initializer.init(rng, self.layout),
            "rule": self.parts.rule.init(self.layout.personal),
            "regularizer": self.parts.regularizer.init(self.layout.personal),
        }

    def unchanged(self) -> Any:
        """A row (1, P) at a random start, under which LoRA and its like leave the base as it is."""
        return self.parts.ops.array(self.layout.draw(np.random.default_rng(0))[None])

    def baseline(self, lr: float) -> "Composition":
        """The same problem with Adam at a rate, to be run from a random start: what is not meta-learned.

        A head in closed form is none that was learned: a random start begins with it too.
        """
        ops, problem = self.parts.ops, copy(plain(self.parts.problem))
        problem.layout = self.free
        rule = kinds("rule")["adam"](ops, problem.layout.personal, lr=lr)
        start = "prototype" if getattr(self.parts.initializer, "closed", False) else "universal"
        initializer = kinds("initializer")[start](ops, problem)
        parts = Parts(ops, problem, initializer, rule, kinds("regularizer")["none"](ops))
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


def compose(recipe: Recipe, base: Any = None) -> Composition:
    """Builds a recipe's parts around a loaded base (loaded here if none is given).

    A recipe that names no readout gets prototypes. Raises RecipeError and ModelError.
    """
    recipe = recipe.with_readout("prototypes")
    backend = recipe.backend
    ops = engine(backend)
    model = None
    if recipe.model is not None:
        base = base or load_base(recipe)
        model = part_of(backend, "adapted").Adapted(base, recipe.make("adapter"))
        head = recipe.make("readout", ops, base.tokenizer)
        if base.kind == "encoder" and not head.classifies:
            raise RecipeError(
                f"recipe {recipe.name}: {base.name} is an encoder, which reads but can't write; give labelled examples "
                "with readout: prototypes, or a causal model"
            )
        if base.kind == "encoder" and not getattr(head, "masked", True):
            raise RecipeError(
                f"recipe {recipe.name}: {base.name} is an encoder, which fills in a mask: end readout.template with "
                f"'{base.tokenizer.mask_token}', or set readout: prototypes"
            )
        if not head.classifies and recipe.kind("regularizer") == "lwf":
            raise RecipeError(
                f"recipe {recipe.name}: regularizer: lwf distils answers among labels, and texts have none; "
                "set regularizer: l2, or ewc"
            )
        problem = recipe.make("problem", ops, model, head)
    else:
        problem = recipe.make("problem", ops)
    free = problem.layout
    problem.layout = recipe.held(free)
    initializer = recipe.make("initializer", ops, problem)
    problem = fitting(problem, initializer)
    rule = recipe.make("rule", ops, problem.layout.personal)
    if getattr(rule, "ranks", 1) == 0:
        raise RecipeError(
            f"recipe {recipe.name}: rule ada_lora allots LoRA's ranks, and a row has none here; set adapter: lora, or "
            "rule: adam"
        )
    regularizer = recipe.make("regularizer", ops)
    parts = Parts(ops, problem, initializer, rule, regularizer)
    learner = recipe.make("learner", parts)
    recipe.check_trains(learner, rule=rule, regularizer=regularizer)
    return Composition(recipe, parts, learner, free, base, model)


def check_descriptions(recipe: Recipe, splits: Splits) -> None:
    """Refuses tasks that nothing describes for an initializer that reads descriptions (RecipeError)."""
    if recipe.context == "support":
        return
    drawn = (splits.train.episode(np.random.default_rng(i)) for i in range(DRAWN))
    if not any(map(described, drawn)):
        raise RecipeError(
            f"recipe {recipe.name}: initializer.context: {recipe.context} reads a description of each task, and these "
            "texts have neither one nor labels; give their rows a field 'about' (tasks.about names another), or set "
            "initializer.context: support"
        )
