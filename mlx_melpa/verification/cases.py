"""What `verify` checks learners on: small smooth problems with every kind of part, or a recipe's own parts."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..config.build import compose, engine
from ..config.kinds import kinds
from ..config.recipe import Recipe
from ..core.protocols import Parts
from ..core.types import Batch, Tree
from ..evaluation import streams as retention
from ..learners.anil import Anil
from ..tasks.sinusoid import sinusoid
from ..tasks.streams import streams
from .toy_block import block
from .toy_words import words

STEPS = 3
RULES: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.05},
    # Adam's first step is the sign of the gradient but for a slope of width eps around 0: at eps = 1e-8 that slope is
    # 1e8, and no difference quotient in float32 sees it.
    "adam": {"lr": 0.02, "eps": 1e-3},
    "ada_lora": {"lr": 0.02, "eps": 1e-3, "warmup": 1, "decay": 1},
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
TENSOR: dict[str, Any] = {**RULES["learned"], "share": "tensor"}
EACH: dict[str, Any] = {**REGULARIZERS["l2"], "each": True}
"""Forms with parameters of another shape, which are checked once."""
HYPERNETWORK: dict[str, Any] = {"embedding": 6, "hidden": 5, "chunk": 8, "place": 4, "activation": "tanh"}
INITIALIZERS: dict[str, dict[str, Any]] = {"whole": HYPERNETWORK, "chunked": {**HYPERNETWORK, "form": "chunked"}}
"""Hypernetworks, which are checked with the first rule alone; all others but those of OTHERS begin as `universal`."""
WRITTEN: dict[str, dict[str, Any]] = {
    **{context: {**HYPERNETWORK, "context": context} for context in ("description", "both")},
    **{option: {**HYPERNETWORK, option: True} for option in ("scales", "ranks")},
}
"""Hypernetworks that read a description, which only tasks of words have, and that have sites of LoRA."""
OTHERS = ("subspace", "proto_head")
"""Starts that are checked with a rule without parameters and with one that has some."""
HELD = "universal, one layer moves"
"""The start in the cases of anil."""
SMOOTH = ("sgd", "meta_sgd", "lslr")
"""Rules whose slopes difference quotients in float32 still see after the nine steps of a stream."""


Case = tuple[tuple[str, str, str], Parts, Tree, Any, Any, int]


def cases(recipe: Recipe | None, seed: int, backend: str) -> Iterator[Case]:
    if recipe is not None:
        yield _of_recipe(recipe, seed)
        return
    for rule, settings in RULES.items():
        for regularizer, strength in REGULARIZERS.items():
            parts, theta, *batches = small(rule, settings, regularizer, strength, seed, backend)
            yield (rule, regularizer, "universal"), parts, theta, *batches, 3
            if rule in SMOOTH and not parts.regularizer.carries:
                yield (rule, regularizer, "universal"), parts, theta, *in_turn(parts, seed), 3
    yield ("meta_sgd", "l2, each", "universal"), *small("meta_sgd", RULES["meta_sgd"], "l2", EACH, seed, backend), 3
    yield ("learned, tensor", "none", "universal"), *small("learned", TENSOR, "none", {}, seed, backend), 3
    for form, shape in INITIALIZERS.items():
        begun = small("sgd", RULES["sgd"], "none", {}, seed, backend, ("hypernetwork", shape))
        yield ("sgd", "none", f"hypernetwork, {form}"), *begun, 3
    for form, shape in WRITTEN.items():
        begun = written("lora", "prototypes", seed, backend, "sgd", ("hypernetwork", shape))
        yield ("sgd", "none", f"hypernetwork, {form}"), *begun, 1
    for rule in ("sgd", "lslr"):
        begun = small(rule, RULES[rule], "l2", REGULARIZERS["l2"], seed, backend, ("subspace", {"size": 20}))
        yield (rule, "l2", "subspace"), *begun, 3
        yield (rule, "none", "proto_head"), *labelled(rule, RULES[rule], seed, backend), 3
    for rule, settings in RULES.items():
        begun = small(rule, settings, "l2", REGULARIZERS["l2"], seed, backend, last=1)
        yield (rule, "l2", HELD), *begun, 1
    for pair in pairs():
        yield ("meta_sgd", "none", ", ".join(("universal", *pair))), *written(*pair, seed, backend), 1
    lora = ("lora", "prototypes")  # where ada_lora has ranks to cut; elsewhere it is Adam
    yield ("ada_lora", "none", ", ".join(("universal", *lora))), *written(*lora, seed, backend, "ada_lora"), 1


def pairs() -> list[tuple[str, str]]:
    """Every kind of adapter under one readout, and every other readout over one adapter."""
    first, *others = kinds("readout")
    return [*((adapter, first) for adapter in kinds("adapter")), *(("lora", readout) for readout in others)]


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
    problem = problem if last is None else problem.with_layout(Anil.hold(problem.layout, {"last": last}))
    initializer = kinds("initializer")[start[0]](ops, problem, **start[1])
    problem = problem.with_decoder(initializer.decoder)
    parts = Parts(
        ops,
        problem,
        initializer,
        kinds("rule")[rule](ops, problem.layout, **settings),
        kinds("regularizer")[regularizer](ops, **strength),
    )
    tasks = sinusoid(shots=5, queries=5).train
    support, query = problem.prepare([tasks.episode(np.random.default_rng([seed, 1, i])) for i in range(2)])
    return parts, _theta(parts, seed, 0.5 if start[0] == "hypernetwork" else 0.0), support, query


def labelled(rule: str, settings: dict[str, Any], seed: int, backend: str) -> tuple[Parts, Tree, Batch, Batch]:
    """Parts, theta and batches of two tasks of labelled words, from heads written as class prototypes."""
    ops: Any = engine(backend)
    problem, tasks = words(ops, seed)
    initializer = kinds("initializer")["proto_head"](ops, problem)
    made = kinds("rule")[rule](ops, problem.layout, **settings)
    parts = Parts(ops, problem, initializer, made, kinds("regularizer")["none"](ops))
    return parts, _theta(parts, seed), *problem.prepare(tasks)


def written(
    adapter: str,
    readout: str,
    seed: int,
    backend: str,
    rule: str = "meta_sgd",
    start: tuple[str, dict[str, Any]] = ("universal", {}),
) -> tuple[Parts, Tree, Batch, Batch]:
    """Parts, theta and batches of two tasks of words, for kinds of adapter and readout.

    The first task is described, the second by its labels' names.
    """
    ops: Any = engine(backend)
    problem, (first, second) = block(ops, adapter, readout, seed)
    tasks = [replace(first, description="faced"), second]
    made = kinds("rule")[rule](ops, problem.layout, **RULES[rule])
    initializer = kinds("initializer")[start[0]](ops, problem, **start[1])
    parts = Parts(ops, problem, initializer, made, kinds("regularizer")["none"](ops))
    return parts, _theta(parts, seed, 0.3), *problem.prepare(tasks)


def in_turn(parts: Parts, seed: int = 0) -> tuple[Any, Any]:
    """Supports and questions of two streams of three sine curves."""
    source = streams(sinusoid(shots=5, queries=5), 3).train
    return retention.prepare(parts.problem, [source.episode(np.random.default_rng([seed, 2, i])) for i in range(2)])


def _theta(parts: Parts, seed: int, noise: float = 0.0) -> Tree:
    rng = np.random.default_rng([seed, 0])
    row, shared = parts.problem.init(rng)
    start = {"initializer": parts.initializer.init(rng, row), "problem": shared}
    return {
        **parts.ops.map_tree(lambda x: x + noise * parts.ops.array(rng.standard_normal(x.shape)), start),
        "rule": parts.rule.init(parts.problem.layout),
        "regularizer": parts.regularizer.init(parts.problem.layout),
    }


def _of_recipe(recipe: Recipe, seed: int) -> Case:
    splits = recipe.make("tasks")
    composed = compose(recipe.for_tasks(splits))
    parts = composed.parts
    drawn = streams(splits, recipe.train.stream).train.episode(np.random.default_rng([seed, 1, 0]))
    support, query = retention.prepare(parts.problem, [drawn])
    rule, regularizer, begins = (recipe.kind(part) for part in ("rule", "regularizer", "initializer"))
    return (rule, regularizer, begins), parts, _theta(parts, seed, noise=0.02), support, query, 1
