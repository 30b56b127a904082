"""The checks of `verify` over every learner and rule: on a small smooth regression, or on a recipe's own parts."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from . import retention, verify, verify_streams
from .coded import fitting
from .compose import compose, engine, readout_for
from .learners.anil import Anil
from .recipe import Recipe, kinds
from .tasks.sinusoid import sinusoid
from .tasks.streams import streams
from .types import Batch, Parts, Tree
from .verify_words import words

STEPS = 3
RULES: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.05},
    # Adam's first step is the sign of the gradient but for a slope of width eps around 0: at eps = 1e-8 that slope is
    # 1e8, and no difference quotient in float32 sees it.
    "adam": {"lr": 0.02, "eps": 1e-3},
    "meta_sgd": {"lr": 0.05},
    "lslr": {"lr": 0.05, "steps": STEPS},
    # Its features of a gradient have the slope e^p around 0.
    "learned": {"lr": 0.05, "p": 2.0},
}
REGULARIZERS: dict[str, dict[str, Any]] = {
    "none": {},
    # So strong that the inner problem has one solution, which imaml takes for granted.
    "l2": {"strength": 5.0, "learn": True},
    "ewc": {"strength": 5.0, "prior": 1.0, "learn": True},
    "lwf": {"strength": 5.0, "learn": True},
}
HYPERNETWORK: dict[str, Any] = {"embedding": 6, "hidden": 5, "chunk": 8, "place": 4, "activation": "tanh"}
INITIALIZERS: dict[str, dict[str, Any]] = {"whole": HYPERNETWORK, "chunked": {**HYPERNETWORK, "form": "chunked"}}
"""Hypernetworks, which are checked with the first rule alone; all others but those of OTHERS begin as `universal`."""
OTHERS = ("subspace", "prototype")
"""Starts that are checked with a rule without parameters and with one that has some."""


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
    "fomaml": (Check("its definition", 1e-6), verify.held_constant),
    "reptile": (Check("its definition", 1e-6), verify.start_minus_adapted),
}
STREAMS: dict[str, tuple[Check, Definition]] = {
    "maml": (Check("plain unrolled loop", 1e-5), verify_streams.unrolled),
    "fomaml": (Check("its definition", 1e-6), verify_streams.held_constant),
}
"""The same over streams of tasks."""
SMOOTH = ("sgd", "meta_sgd", "lslr")
"""Rules whose slopes difference quotients in float32 still see after the nine steps of a stream."""
EXACT: dict[str, tuple[float, ...] | None] = {"maml": None, "maml_plus_plus": HALFWAY, "anil": None}
"""Learners whose gradient is that of the query loss, with its weights, so that finite differences apply."""
HELD = "universal, one layer moves"
"""The start in the cases of anil."""


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
    for names, parts, theta, support, query, tries in _cases(recipe, seed, backend):
        streamed = isinstance(support, tuple)
        for learner in STREAMS if streamed else DEFINITIONS:
            if not _suits(learner, names, recipe):
                continue
            for part, error, check in errors(learner, parts, theta, support, query, seed, tries):
                entry = {"learner": learner, "rule": names[0], "part": part, "relative_error": error}
                entry |= {"regularizer": names[1], "initializer": names[2], "stream": len(support) if streamed else 1}
                found.append({**entry, "against": check.against, "limit": check.limit})
        advance()
    return found


def _suits(learner: str, names: tuple[str, str, str], recipe: Recipe | None) -> bool:
    """Says whether a case is one for this learner: some want a layout or a regularizer of their own."""
    if recipe is not None:
        return learner not in ("anil", "imaml") or learner == recipe.resolved["learner"]["kind"]
    if learner == "imaml":
        return names[1] in ("l2", "ewc") and names[2] == "universal"
    return (learner == "anil") == (names[2] == HELD)


def errors(
    learner: str, parts: Parts, theta: Tree, support: Any, query: Any, seed: int = 0, tries: int = 3
) -> Iterator[tuple[str, float, Check]]:
    """The relative errors of one learner, for each part of theta that it trains and that holds parameters.

    Support and query are batches of tasks, or of streams: tuples of supports and questions.
    """
    built = kinds("learner")[learner](parts, steps=STEPS, **SETTINGS.get(learner, {}))
    built = built.at(0.5) if hasattr(built, "at") else built
    if parts.initializer.code and "rule" not in built.trains:
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


Case = tuple[tuple[str, str, str], Parts, Tree, Any, Any, int]


def _cases(recipe: Recipe | None, seed: int, backend: str) -> Iterator[Case]:
    if recipe is not None:
        yield _of_recipe(recipe, seed)
        return
    for rule, settings in RULES.items():
        for regularizer, strength in REGULARIZERS.items():
            parts, theta, *batches = small(rule, settings, regularizer, strength, seed, backend)
            yield (rule, regularizer, "universal"), parts, theta, *batches, 3
            if rule in SMOOTH and not parts.regularizer.carries:
                yield (rule, regularizer, "universal"), parts, theta, *in_turn(parts, seed), 3
    for form, shape in INITIALIZERS.items():
        begun = small("sgd", RULES["sgd"], "none", {}, seed, backend, ("hypernetwork", shape))
        yield ("sgd", "none", f"hypernetwork, {form}"), *begun, 3
    for rule in ("sgd", "lslr"):
        begun = small(rule, RULES[rule], "l2", REGULARIZERS["l2"], seed, backend, ("subspace", {"size": 20}))
        yield (rule, "l2", "subspace"), *begun, 3
        yield (rule, "none", "prototype"), *labelled(rule, RULES[rule], seed, backend), 3
    for rule, settings in RULES.items():
        begun = small(rule, settings, "l2", REGULARIZERS["l2"], seed, backend, last=1)
        yield (rule, "l2", HELD), *begun, 1


def small(
    rule: str,
    settings: dict[str, Any],
    regularizer: str,
    strength: dict[str, Any],
    seed: int = 0,
    backend: str = "mlx",
    start: tuple[str, dict[str, Any]] = ("universal", {}),
    last: int | None = None,
) -> tuple[Parts, Tree, Batch, Batch]:
    """Parts, theta and batches of two tasks on sine curves with a smooth network.

    A hypernetwork is moved off the zeros that it begins with: they would leave its other weights without a gradient.
    Of the layers the `last` move, all if that is None.
    """
    ops = engine(backend)
    problem = kinds("problem")["regression"](ops, hidden=[10, 10], activation="tanh")
    problem.layout = problem.layout if last is None else Anil.hold(problem.layout, {"last": last})
    initializer = kinds("initializer")[start[0]](ops, problem, **start[1])
    problem = fitting(problem, initializer)
    parts = Parts(
        ops,
        problem,
        initializer,
        kinds("rule")[rule](ops, problem.layout.personal, **settings),
        kinds("regularizer")[regularizer](ops, **strength),
    )
    tasks = sinusoid(shots=5, queries=5).train
    support, query = problem.prepare([tasks.episode(np.random.default_rng([seed, 1, i])) for i in range(2)])
    return parts, _theta(parts, seed, 0.5 if start[0] == "hypernetwork" else 0.0), support, query


def labelled(rule: str, settings: dict[str, Any], seed: int, backend: str) -> tuple[Parts, Tree, Batch, Batch]:
    """Parts, theta and batches of two tasks of labelled words, from heads written as class prototypes."""
    ops: Any = engine(backend)
    problem, tasks = words(ops, seed)
    initializer = kinds("initializer")["prototype"](ops, problem)
    made = kinds("rule")[rule](ops, problem.layout.personal, **settings)
    parts = Parts(ops, problem, initializer, made, kinds("regularizer")["none"](ops))
    return parts, _theta(parts, seed), *problem.prepare(tasks)


def in_turn(parts: Parts, seed: int = 0) -> tuple[Any, Any]:
    """Supports and questions of two streams of three sine curves."""
    source = streams(sinusoid(shots=5, queries=5), 3).train
    return retention.prepare(parts.problem, [source.episode(np.random.default_rng([seed, 2, i])) for i in range(2)])


def _theta(parts: Parts, seed: int, noise: float = 0.0) -> Tree:
    rng = np.random.default_rng([seed, 0])
    start = parts.initializer.init(rng, parts.problem.layout)
    return {
        "initializer": parts.ops.map_tree(lambda x: x + noise * parts.ops.array(rng.standard_normal(x.shape)), start),
        "rule": parts.rule.init(parts.problem.layout.personal),
        "regularizer": parts.regularizer.init(parts.problem.layout.personal),
    }


def _of_recipe(recipe: Recipe, seed: int) -> Case:
    splits = recipe.make("tasks")
    composed = compose(recipe, readout="prototypes" if recipe.resolved["model"] is None else readout_for(splits))
    parts = composed.parts
    drawn = streams(splits, recipe.make("train").stream).train.episode(np.random.default_rng([seed, 1, 0]))
    support, query = retention.prepare(parts.problem, [drawn])
    rule, regularizer, begins = (recipe.resolved[name]["kind"] for name in ("rule", "regularizer", "initializer"))
    return (rule, regularizer, begins), parts, _theta(parts, seed, noise=0.02), support, query, 1
