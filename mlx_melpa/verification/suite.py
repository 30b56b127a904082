"""The checks of `verify` over every kind of part: on small smooth problems, or on a recipe's own parts."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..config.build import engine
from ..config.kinds import kinds
from ..config.recipe import Recipe
from ..core.protocols import Parts
from ..core.types import Tree
from . import quadratic as verify_quadratic
from . import references as verify
from . import streams as verify_streams
from .cases import HELD, STEPS, cases


class Check(NamedTuple):
    """What a learner is held against, and the relative error that it may have."""

    against: str
    limit: float


Definition = Callable[[Parts, Tree, Any, Any, int], Tree]
SLOPES = Check("finite differences", 1e-2)
HALFWAY = (0.0, 1 / 6, 1 / 6, 2 / 3)
"""The weights of MAML++ half way from thirds to the last of 3 steps alone."""
SETTINGS: dict[str, dict[str, Any]] = {
    "maml_plus_plus": {"multi_step": 1.0, "first_order": 0.0},
    "imaml": {"cg_steps": 60, "tolerance": 1e-6},
}
DEFINITIONS: dict[str, tuple[Check, Definition]] = {
    "maml": (Check("plain unrolled loop", 1e-5), verify.unrolled),
    "maml_plus_plus": (Check("plain unrolled loop", 1e-5), partial(verify.unrolled, weights=HALFWAY)),
    "anil": (Check("plain unrolled loop", 1e-5), verify.unrolled),
    "imaml": (Check("its definition", 1e-4), verify.implicit),
    "fomaml": (Check("its definition", 1e-5), verify.held_constant),
    "reptile": (Check("its definition", 1e-6), verify.start_minus_adapted),
}
STREAMS: dict[str, tuple[Check, Definition]] = {
    "maml": (Check("plain unrolled loop", 1e-5), verify_streams.unrolled),
    "fomaml": (Check("its definition", 1e-5), verify_streams.held_constant),
}
"""The same over streams of tasks."""
EXACT: dict[str, tuple[float, ...] | None] = {"maml": None, "maml_plus_plus": HALFWAY, "anil": None}
"""Learners whose gradient is that of the query loss, with its weights, so that finite differences apply."""


def sweep(
    recipe: Recipe | None = None,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
    backend: str = "mlx",
) -> list[dict[str, Any]]:
    """Checks every learner with every rule and regularizer on a small network with tanh, or on a recipe's own parts.

    One dict per check: learner, rule, part (of theta), relative_error, then regularizer, initializer, against, limit,
    and stream, the number of tasks that follow one another.
    A recipe's start is moved by a little noise: factors of zero would leave others without a gradient to check.
    """
    found = []
    for names, parts, theta, support, query, tries in cases(recipe, seed, backend):
        streamed = isinstance(support, tuple)
        for learner in STREAMS if streamed else DEFINITIONS:
            if not _suits(learner, names, recipe):
                continue
            for part, error, check in errors(learner, parts, theta, support, query, seed, tries):
                entry = {"learner": learner, "rule": names[0], "part": part, "relative_error": error}
                entry |= {"regularizer": names[1], "initializer": names[2], "stream": len(support) if streamed else 1}
                found.append({**entry, "against": check.against, "limit": check.limit})
        advance()
    return found if recipe is not None else found + _exact(seed, backend)


def _exact(seed: int, backend: str) -> list[dict[str, Any]]:
    """The check of imaml where its solution has a closed form."""
    names = {"learner": "imaml", "rule": "sgd", "regularizer": "l2, each", "initializer": "universal", "stream": 1}
    check = {"against": "its exact solution of a quadratic", "limit": 1e-4}
    found = verify_quadratic.errors(engine(backend), seed)
    return [{**names, "part": part, "relative_error": error, **check} for part, error in found]


def _suits(learner: str, names: tuple[str, str, str], recipe: Recipe | None) -> bool:
    """Says whether a case is one for this learner: some want a layout or a regularizer of their own."""
    if recipe is not None:
        return learner not in ("anil", "imaml") or learner == recipe.kind("learner")
    if learner == "imaml":
        return names[1].split(", ")[0] in ("l2", "ewc") and names[2] == "universal"
    return (learner == "anil") == (names[2] == HELD)


def errors(
    learner: str, parts: Parts, theta: Tree, support: Any, query: Any, seed: int = 0, tries: int = 3
) -> Iterator[tuple[str, float, Check]]:
    """The relative errors of one learner, for each part of theta that it trains and that holds parameters.

    Support and query are batches of tasks, or of streams: tuples of supports and questions.
    """
    built = kinds("learner")[learner](parts, steps=STEPS, **SETTINGS.get(learner, {}))
    built = built.at(0.5) if hasattr(built, "at") else built
    if parts.initializer.decoder and "problem" not in built.trains:
        return
    gradient = built.meta_grad(theta, support, query)[1]
    streamed = isinstance(support, tuple)
    check, definition = (STREAMS if streamed else DEFINITIONS)[learner]
    wanted = definition(parts, theta, support, query, STEPS)
    results = [(check, verify.difference(gradient, wanted, parts.ops))]
    if learner in EXACT:
        if streamed:
            loss = verify_streams.outer_loss(parts, support, query, STEPS)
        else:
            loss = verify.query_loss(parts, support, query, STEPS, EXACT[learner])
        rng = np.random.default_rng(seed)
        often = tries if learner == "maml" else 1  # the others walk as it does
        results.append((SLOPES, dict(verify.slopes(loss, theta, gradient, parts.ops, rng, often))))
    for check, by_leaf in results:
        for part in theta:
            of_part = [error for name, error in by_leaf.items() if name.split(".")[0] == part]
            if of_part and part in built.trains:
                yield part, max(of_part), check
