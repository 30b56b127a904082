"""The task encoder E: one vector for a set of examples, whatever their number and order."""

from math import prod

import numpy as np

from ..core.engine import Engine
from ..core.types import Array, Tree

Shapes = dict[str, tuple[int, ...]]


def count(shapes: Shapes) -> int:
    """The count of numbers in weights of these shapes."""
    return sum(map(prod, shapes.values()))


def draw(ops: Engine, rng: np.random.Generator, shapes: Shapes) -> Tree:
    """Draws weights, uniform within 1 / sqrt(their first dimension)."""
    return {name: ops.array(rng.uniform(-1, 1, shape) * shape[0] ** -0.5) for name, shape in shapes.items()}


class TaskEncoder:
    """Self-attention over a task's examples, then their mean.

    h = tanh(x enter + bias);   h <- h + softmax(h query (h key)^T / sqrt(e)) (h value);   E = mean of h
    With `described` the last one is the task's description, not an example: it enters as tanh(x enter + bias + mark).
    """

    def __init__(self, ops: Engine, width: int, size: int, described: bool = False):
        self.ops, self.size, self.described = ops, size, described
        square = (size, size)
        self.shapes: Shapes = {"enter": (width, size), "bias": (size,), "query": square, "key": square, "value": square}
        if described:
            self.shapes["mark"] = (size,)

    def embed(self, meta: Tree, context: Array, present: Array) -> Array:
        """Task embeddings (T, e) of examples (T, S, d); `present` (T, S) is 0 for those that pad."""
        ops, (tasks, many) = self.ops, present.shape
        entered = context @ meta["enter"] + meta["bias"]
        if self.described:
            last = ops.array(np.eye(1, many, many - 1))
            entered = entered + last.reshape(1, many, 1) * meta["mark"].reshape(1, 1, -1)
        h = ops.tanh(entered)
        near = (h @ meta["query"]) @ ops.swap(h @ meta["key"]) * self.size**-0.5
        h = h + ops.softmax(near + (present.reshape(tasks, 1, many) - 1) * 1e9) @ (h @ meta["value"])
        return (h * present.reshape(tasks, many, 1)).sum(1) / ops.maximum(present.sum(-1), 1).reshape(tasks, 1)
