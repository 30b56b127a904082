"""The checks of `melpa verify`: meta-gradients of all learners on toy problems, or of a recipe on its own model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..config.build import compose, engine
from ..config.recipe import Recipe
from ..core.types import Array, Tree
from ..errors import RecipeError
from ..tasks.streams import streams
from .cases import Built, Choice, cases, noisy, train
from .differences import relative_errors, slope_errors

SLOPE_LIMIT = 1e-2
"""Largest relative error of a slope beside finite differences in float32."""


class Error(NamedTuple):
    """The relative error of a part of theta, what it is compared with, and the largest error allowed."""

    part: str
    against: str
    relative_error: float
    limit: float


@dataclass(frozen=True)
class Check:
    """An error with the kinds that stood together; `stream` is the number of tasks in a row."""

    learner: str
    stream: int
    rule: str
    regularizer: str
    initializer: str
    problem: str
    part: str
    against: str
    relative_error: float
    limit: float

    @property
    def met(self) -> bool:
        """True if the error is within its limit."""
        return self.relative_error <= self.limit


def check_all(
    recipe: Recipe | None = None, seed: int = 0, advance: Callable[[], None] = lambda: None, backend: str = "mlx"
) -> list[Check]:
    """Verifies every kind on toy problems, or a recipe's own parts with its learner and with maml.

    `advance` is called after each case.
    """
    if recipe is not None:
        return _check_recipe(recipe, seed)
    ops, checks = engine(backend), list[Check]()
    for case in cases():
        for learner in case.learners:
            try:
                built = case.build(learner, ops, seed)
            except RecipeError:  # it can't learn with these parts
                continue
            kinds = (str(case.rule), str(case.regularizer), str(case.initializer), built.problem)
            checks += [Check(str(learner), 1 + case.streamed, *kinds, *error) for error in errors(built, seed)]
        advance()
    return checks


def _check_recipe(recipe: Recipe, seed: int) -> list[Check]:
    """A start is moved by a little noise: factors of zero would leave others without a gradient."""
    splits, stream, checks = recipe.make("tasks"), recipe.train.stream, list[Check]()
    parts = compose(recipe.for_tasks(splits)).parts
    drawn = streams(splits, stream).train.episode(np.random.default_rng([seed, 1, 0]))
    for learner in dict.fromkeys([recipe.kind("learner"), "maml"]):
        built = train(recipe.name, Choice("learner", learner), parts, noisy(parts, seed, 0.02), [drawn])
        kinds = (recipe.kind("rule"), recipe.kind("regularizer"), recipe.kind("initializer"), recipe.name)
        checks += [Check(learner, stream, *kinds, *error) for error in errors(built, seed)]
    return checks


def errors(built: Built, seed: int = 0) -> Iterator[Error]:
    """The errors of one learner, for each part of theta that it trains and that has parameters."""
    _, learner, parts, theta, support, query = built
    ops, gradient = parts.ops, learner.meta_grad(theta, support, query)[1]
    definition = learner.definition(theta, support, query)

    def summed(theta: Tree) -> tuple[Array, Array]:
        losses = definition(theta)
        return losses.sum(), losses

    wanted = ops.value_and_grad(summed, theta)[2]
    results = [("its definition", learner.precision, relative_errors(gradient, wanted, ops))]
    if learner.exact_gradient:

        def loss(theta: Tree) -> float:
            return float(np.asarray(ops.numpy(definition(theta)), np.float64).sum())

        slopes = dict(slope_errors(loss, theta, gradient, ops, np.random.default_rng(seed)))
        results.append(("finite differences", SLOPE_LIMIT, slopes))
    for against, limit, by_leaf in results:
        for part in theta:
            found = [error for name, error in by_leaf.items() if name.split(".")[0] == part]
            if found and part in learner.trains:
                yield Error(part, against, max(found), limit)
