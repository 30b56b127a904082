"""A quadratic problem, whose inner solution and implicit gradient have a closed form: what `imaml` is held against.

loss = 1/2 (row - center)' C (row - center), pulled to the start by strengths s:  with A = C + diag(s)
rows = A^-1 (C center + s start);   a = A^-1 C (rows - query center)
d / d start = sum over tasks of s a;   d / d log s = sum over tasks of s a (start - rows)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlx_melpa.config.kinds import kinds
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.protocols import Components
from mlx_melpa.core.types import Array, Batch, Tree

SIZE, TASKS, STRENGTH = 6, 3, 0.7


class Quadratic:
    """Losses (T,) of rows (T, SIZE) around a batch's centers."""

    layout = Layout([Segment("row", (SIZE,))])

    def __init__(self, curved: Array):
        self.curved = curved

    def losses(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Per-task losses (T,)."""
        away = rows - batch["center"]
        return 0.5 * ((away @ self.curved) * away).sum(-1)


def errors(ops: Any, seed: int = 0) -> Iterator[tuple[str, float]]:
    """The relative errors of `imaml` by part of theta, its inner problem solved to the last digit."""
    rng = np.random.default_rng([seed, 4])
    root = rng.standard_normal((SIZE, SIZE)) / SIZE**0.5
    curved, start = root @ root.T, rng.standard_normal(SIZE)
    support, query = rng.standard_normal((2, TASKS, SIZE))
    strengths = STRENGTH * np.exp(0.3 * rng.standard_normal(SIZE))
    problem: Any = Quadratic(ops.array(curved))
    regularizer = kinds("regularizer")["l2"](ops, strength=STRENGTH, learn=True, each=True)
    rule = kinds("rule")["sgd"](ops, problem.layout, lr=0.3)
    parts = Components(ops, problem, kinds("initializer")["universal"](ops), rule, regularizer)
    learned = {"log_strength": ops.array(np.log(strengths))}
    theta = {"initializer": {"start": ops.array(start)}, "problem": {}, "rule": {}, "regularizer": learned}
    learner = kinds("learner")["imaml"](parts, steps=200, cg_steps=20, tolerance=1e-7)
    batches = [{"center": ops.array(center), "weights": ops.ones((TASKS, 1))} for center in (support, query)]
    gradient = ops.map_tree(ops.numpy, learner.meta_grad(theta, *batches)[1])
    inverse = np.linalg.inv(curved + np.diag(strengths))
    rows = (support @ curved + strengths * start) @ inverse
    back = strengths * ((rows - query) @ curved @ inverse)
    yield "initializer", _far(gradient["initializer"]["start"], back.sum(0))
    yield "regularizer", _far(gradient["regularizer"]["log_strength"], (back * (start - rows)).sum(0))


def _far(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
