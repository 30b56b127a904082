"""What sections measure: a recipe for simulated people, a random llama of any size, a batch of random tokens"""

from types import SimpleNamespace
from typing import Any

import numpy as np

from ...config.build import engine, part_of
from ...config.kinds import kinds
from ...config.recipe import Recipe, recipe_of
from ...core.protocols import Parts
from ...core.types import Batch
from ...readouts.likelihood import Reading, collect

RATE = 0.1
"""The inner rate of gradient descent."""
ENDLESS = SimpleNamespace(bos_token_id=None, eos_token_id=None)
"""What stands for a tokenizer where no text is read."""


def recipe(model: str, **changes: Any) -> Recipe:
    """A recipe as `melpa prepare` writes one, but learning to write, by gradient descent, with nothing clipped.

    changes: learner, steps, layers ("all" or a number), rank, shots, tasks (an iteration's), tasks_per_pass, backend.
    """
    s = {"learner": "fomaml", "steps": 5, "layers": "all", "rank": 8, "shots": 10, "tasks": 4} | changes
    tree = {
        "model": model,
        "backend": s.get("backend", "mlx"),
        "adapter": {"kind": "lora", "rank": s["rank"], "scale": 2.0, "layers": s["layers"]},
        "tasks": {"kind": "synthetic", "variant": "style", "shots": s["shots"], "queries": s["shots"]},
        "readout": {"kind": "completion", "max_length": 64},
        "rule": {"kind": "sgd", "lr": RATE},
        "learner": {"kind": s["learner"], "steps": s["steps"]},
        "train": {
            "tasks_per_step": s["tasks"],
            "tasks_per_pass": s.get("tasks_per_pass"),
            "clip": None,
            "validation_episodes": 1,
        },
    }
    return recipe_of(tree, "bench")


def upper_half(model: str) -> int:
    """The number of blocks that a recipe of `melpa prepare` adapts."""
    from ...backends.checkpoints import config, fetch

    found = config(fetch(model))
    return max(1, int(found.get("num_hidden_layers") or found["n_layer"]) // 2)


def random_llama(size: Any) -> Any:
    """A base on MLX of a `pocket.fit.Size`, with random weights and no tokenizer."""
    from ...backends.mlx.model import wrap
    from ...pocket.fit import build

    return wrap("random llama", build(size, 0), None, size.config())


def parts(base: Any, rank: int = 8, backend: str = "mlx", adapter: Any = None) -> Parts:
    """LoRA at all layers, or another adapter, on a base; with completion likelihood and gradient descent."""
    ops = engine(backend)
    adapted = part_of(backend, "adapted").Adapted(base, adapter or kinds("adapter")["lora"](rank=rank))
    problem = kinds("problem")["language"](ops, adapted, kinds("readout")["completion"](ops, base.tokenizer or ENDLESS))
    rule = kinds("rule")["sgd"](ops, problem.layout, lr=RATE)
    return Parts(ops, problem, kinds("initializer")["universal"](ops), rule, kinds("regularizer")["none"](ops))


def theta(parts: Parts) -> Any:
    """A random start, with B away from zero so that every factor has a gradient."""
    rng = np.random.default_rng(0)
    start = parts.problem.layout.draw(rng) + 0.01 * rng.standard_normal(parts.problem.layout.size)
    return {"initializer": parts.initializer.at(start.astype(np.float32)), "rule": {}, "regularizer": {}}


def batch(parts: Parts, tasks: int, examples: int, length: int, *, one_in: int = 10, seed: int = 0) -> Batch:
    """Random tokens (tasks * examples, length) without padding; the last of every `one_in` is supervised."""
    problem: Any = parts.problem
    rng = np.random.default_rng([seed, 7])
    rows = rng.integers(3, min(6000, vocabulary(problem.model.base)), (tasks, examples, length + 1))
    read = range(length - max(1, length // one_in), length)
    readings = [
        [Reading(row[:-1].tolist(), [(e, i, int(row[i + 1]), 1.0) for i in read]) for e, row in enumerate(task)]
        for task in rows
    ]
    counted = np.full((tasks, examples), len(read), np.float32)
    arrays = {"weights": np.ones_like(counted), "count": counted, "bytes": counted}
    return problem._ready({**collect(readings, examples, 0, parts.ops.LANES), **arrays})


def vocabulary(base: Any) -> int:
    """The number of tokens that a base knows."""
    return int(base.config["vocab_size"])
