"""A learned optimizer: a small LSTM updates each number of the row from its own gradient and its own hidden state.

x = (log|g| / p, sign g), or (-1, e^p g) where |g| < e^-p                 the gradient, at any scale
z = gates [x, hidden] + bias = (input, forget, out, new)
cell <- sigmoid(forget) cell + sigmoid(input) tanh(new);   hidden <- sigmoid(out) tanh(cell)
rows <- rows - lr (out [x, hidden])

All coordinates share one set of weights, or, with `share: tensor`, those of a weight tensor of the adapter do. `out`
starts at (0, 1) for x and near 0 for the hidden state. That is sign descent at rate `lr`, like Adam's first step, so
meta-training starts from a rule that works. Both x are continuous, but between -e^-p and e^-p the second has the slope
e^p (22,026 at p = 10): for second derivatives (learner `maml`) set a smaller p.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.random import default_rng

from ..core.bounds import Bounds, Positive
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Rule
from ..core.types import Array, Tree

FEATURES = 2
NEAR_ZERO = 0.1
"""The bound of the hidden state's first weights in a step."""


class Learned(Rule):
    """rows - lr f(gradient, memory), with f learned and the same for every coordinate of a group."""

    # A larger p lets gradients of the toys cross the kinks at +-e^-p within a finite difference.
    verify_with = ({"lr": 0.05, "p": 1.0}, {"lr": 0.05, "p": 1.0, "share": "tensor"})
    learnable = True

    def __init__(self, ops: Engine, layout: Layout, lr: float, hidden: int, p: float, share: str):
        self.ops, self.lr, self.hidden, self.p = ops, lr, hidden, p
        self._offsets = layout.offsets if share == "tensor" else (0, layout.size)

    def init(self, layout: Layout) -> Tree:
        """The weights of S groups: gates (S, 4H, 2 + H), bias (S, 4H, 1), out (S, 1, 2 + H).

        A rule has no seed: the draw is the same every time, and for every group. The forget gate's bias is 1.
        """
        h, rng = self.hidden, default_rng(0)
        bound = (FEATURES + h) ** -0.5
        gates = rng.uniform(-bound, bound, (4 * h, FEATURES + h))
        bias = np.repeat([0.0, 1.0, 0.0, 0.0], h)[:, None]
        out = np.concatenate([[0.0, 1.0], rng.uniform(-NEAR_ZERO, NEAR_ZERO, h)])[None]
        groups = len(self._offsets) - 1
        drawn = {"gates": gates, "bias": bias, "out": out}
        return {name: self.ops.array(np.repeat(each[None], groups, 0)) for name, each in drawn.items()}

    def begin(self, rows: Array) -> Tree:
        """The LSTM's hidden state and cell, (T, H, P) each: zeros."""
        shape = (rows.shape[0], self.hidden, rows.shape[1])
        return {"hidden": self.ops.zeros(shape), "cell": self.ops.zeros(shape)}

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """One step for rows and gradients (T, P)."""
        x = self._preprocessed(grads)
        cut = [self.ops.split(each, self._offsets[1:-1], 2) for each in (x, memory["hidden"], memory["cell"])]
        found = [self._group(meta, s, *each) for s, each in enumerate(zip(*cut, strict=True))]
        moves, hidden, cell = (self.ops.concatenate(list(parts), 2) for parts in zip(*found, strict=True))
        return rows - self.lr * moves.reshape(*rows.shape), {"hidden": hidden, "cell": cell}

    def _preprocessed(self, grads: Array) -> Array:
        """Gradients (T, P) as features (T, 2, P) within -1 and about 1 (Andrychowicz et al. 2016, appendix A)."""
        ops, edge = self.ops, float(np.exp(-self.p))
        size = ops.log(ops.maximum(grads.abs(), edge)) / self.p
        return ops.stack([size, ops.maximum(ops.minimum(grads / edge, 1.0), -1.0)], 1)

    def _group(self, meta: Tree, s: int, x: Array, hidden: Array, cell: Array) -> tuple[Array, Array, Array]:
        """The move (T, 1, n), hidden state and cell (T, H, n) of a group's n coordinates."""
        ops, h = self.ops, self.hidden
        z = meta["gates"][s] @ ops.concatenate([x, hidden], 1) + meta["bias"][s]
        gates, new = ops.split(z, [3 * h], 1)
        entering, kept, shown = ops.split(0.5 + 0.5 * ops.tanh(0.5 * gates), [h, 2 * h], 1)  # sigmoids
        cell = kept * cell + entering * ops.tanh(new)
        hidden = shown * ops.tanh(cell)
        return meta["out"][s] @ ops.concatenate([x, hidden], 1), hidden, cell


def learned(
    ops: Engine,
    layout: Layout,
    *,
    lr: Positive = 1e-3,
    hidden: Annotated[int, Bounds(1, 8)] = 4,
    p: Annotated[float, Bounds(0.5, 20)] = 10.0,
    share: Literal["all", "tensor"] = "all",
) -> Learned:
    """Builds the learned optimizer (Andrychowicz et al. 2016; Ravi and Larochelle 2017).

    An adaptation keeps 2 x hidden numbers for each of the row's.

    Use it when the update rule itself is the question, as in MeLPA.
    Not when time counts: each step costs an LSTM for every number, and rates alone were as good here.

    lr: the rate of sign descent, which it is before meta-training.
    hidden: the LSTM's width.
    p: gradients below e^-p count as small; take a smaller p with second derivatives.
    share: all numbers have one set of weights, or those of each weight tensor.
    """
    return Learned(ops, layout, lr, hidden, p, share)
