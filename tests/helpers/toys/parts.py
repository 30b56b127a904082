"""Parts on small smooth problems, with the settings of the test at hand."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlx_melpa.config.build import engine
from mlx_melpa.config.kinds import kind_class, kinds
from mlx_melpa.core.protocols import Components
from mlx_melpa.core.types import Batch, Tree
from mlx_melpa.learners.anil import Anil
from mlx_melpa.tasks.sinusoid import sinusoid
from mlx_melpa.verification import suite
from mlx_melpa.verification.cases import Built, Choice, noisy

from .words import words

RULES, REGULARIZERS = (
    {kind: dict(kind_class(part, kind).verify_with[0]) for kind in kinds(part)} for part in ("rule", "regularizer")
)
STEPS = 3


def small(
    rule: str,
    settings: dict[str, Any],
    regularizer: str,
    strength: dict[str, Any],
    seed: int = 0,
    backend: str = "mlx",
    start: tuple[str, dict[str, Any]] = ("universal", {}),
    last: int | None = None,
) -> tuple[Components, Tree, Batch, Batch]:
    """Parts, theta and batches of two tasks on sine curves with a smooth network.

    A hypernetwork is moved off the zeros that it begins with: they would leave its other weights without a gradient.
    Of the layers the `last` move, all if that is None.
    """
    ops = engine(backend)
    problem = kinds("problem")["regression"](ops, hidden=[10, 10], activation="tanh")
    problem = problem if last is None else problem.with_layout(Anil.freeze(problem.layout, {"last": last}))
    initializer = kinds("initializer")[start[0]](ops, problem, **start[1])
    problem = problem.with_decoder(initializer.decoder)
    parts = Components(
        ops,
        problem,
        initializer,
        kinds("rule")[rule](ops, problem.layout, **settings),
        kinds("regularizer")[regularizer](ops, **strength),
    )
    tasks = sinusoid(shots=5, queries=5).train
    support, query = problem.prepare([tasks.episode(np.random.default_rng([seed, 1, i])) for i in range(2)])
    return parts, noisy(parts, seed, 0.5 if start[0] == "hypernetwork" else 0.0), support, query


def labelled(rule: str, settings: dict[str, Any], seed: int, backend: str) -> tuple[Components, Tree, Batch, Batch]:
    """Parts, theta and batches of two tasks of labelled words, from heads written as class prototypes."""
    ops: Any = engine(backend)
    problem, tasks = words(ops, seed)
    initializer = kinds("initializer")["proto_head"](ops, problem)
    made = kinds("rule")[rule](ops, problem.layout, **settings)
    parts = Components(ops, problem, initializer, made, kinds("regularizer")["none"](ops))
    return parts, noisy(parts, seed, 0.0), *problem.prepare(tasks)


def errors(learner: str, parts: Components, theta: Tree, support: Any, query: Any) -> Iterator[suite.Error]:
    """The errors of a learner over three steps."""
    settings = Choice("learner", learner).settings
    built = kinds("learner")[learner](parts, steps=STEPS, **settings).at(0.5)
    return suite.errors(Built("toy", built, parts, theta, support, query))
