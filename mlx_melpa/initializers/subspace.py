"""A learned subspace: rows are mean + code basis, and steps move the code alone.

rows = mean + code basis, with mean (P,) and basis (size, own) learned by the outer loop; a task begins at code 0.
A step's gradient is that of the row times basis^T. A person is `size` numbers: 256 bytes where these are 128.
The basis begins as random orthonormal rows times sqrt(own / size): on average over bases a step of gradient descent
then lowers the loss, to first order, as far as the same step on the whole row does, and a step of Adam moves each
number of the row about as far. What is shared by everyone in the adapter's layout is the mean's.
"""

from typing import Annotated, Any

import numpy as np
from numpy.linalg import qr

from ..core.bounds import Bounds
from ..core.layout import Layout
from ..core.types import Array, Batch, Tree
from ..errors import RecipeError


class Subspace:
    """Rows (T, P + size) from codes (T, size): the numbers that act, then the code."""

    def __init__(self, ops: Any, layout: Layout, size: int):
        self.ops, self.layout, self.code = ops, layout, size

    def init(self, rng: np.random.Generator, layout: Layout) -> Tree:
        """Draws the adapter's random start as the mean, and the basis."""
        start, own = self.at(layout.draw(rng)), int(self.layout.own.sum())
        across, _ = qr(rng.standard_normal((own, self.code), np.float32))
        return {**start, "basis": self.ops.swap(self.ops.array(np.sqrt(own / self.code) * across))}

    def at(self, row: np.ndarray) -> Tree:
        """The mean at which the row (P + size,) lies."""
        return {"mean": self.ops.array(row[: self.layout.size])}

    def make(self, meta: Tree, support: Batch, tasks: int) -> Array:
        """The mean as rows (T, P + size): every task begins at code 0."""
        return self.decode(meta, self.ops.zeros((tasks, self.code)))

    def decode(self, meta: Tree, codes: Array) -> Array:
        """The rows (T, P + size) of codes (T, size)."""
        ops, tasks = self.ops, codes.shape[0]
        own = iter(ops.split(codes @ meta["basis"], self.layout.personal.offsets[1:-1], 1))
        away = [ops.zeros((tasks, s.size)) if s.shared else next(own) for s in self.layout.segments]
        return ops.concatenate([meta["mean"].reshape(1, -1) + ops.concatenate(away, 1), codes], 1)


def subspace(ops: Any, problem: Any, *, size: Annotated[int, Bounds(1, 1024)] = 128) -> Subspace:
    """Builds the subspace with codes of `size` numbers (Rusu et al. 2019; Aghajanyan et al. 2021).

    Raises RecipeError where the adapter has no more numbers than the code.

    Use it when users are many and storage counts: a user is a code of 128 numbers, 256 bytes.
    Not when the learner has no backward pass along the steps (`reptile`, `imaml`): these can't train the basis.

    size: numbers of a code.
    """
    own = problem.layout.personal.size
    if own <= size:
        raise RecipeError(
            f"initializer subspace: a code of {size} numbers is no smaller than the row of {own} that it stands for; "
            "lower initializer.size, or take initializer: universal"
        )
    return Subspace(ops, problem.layout, size)
