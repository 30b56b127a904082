"""A learned subspace: rows are mean + code basis, and steps move the code alone.

rows = mean + code basis, with mean (P,) and basis (size, own) learned by the outer loop; a task begins at code 0.
A step's gradient is that of the row times basis^T. A user is `size` numbers: 128 numbers take 256 bytes.
The basis begins as random orthonormal rows times sqrt(own / size): on average over bases a step of gradient descent
then lowers the loss, to first order, as far as the same step on the whole row does, and a step of Adam moves each
number of the row about as far.
"""

from typing import Annotated

import numpy as np
from numpy.linalg import qr

from ..core.bounds import Bounds
from ..core.decoder import Decoder
from ..core.engine import Engine
from ..core.protocols import Initializer, Problem
from ..core.types import Array, Batch, Tree
from ..errors import RecipeError


class Basis(Decoder):
    """The decoder: a user's numbers (T, own) from codes (T, size)."""

    def __init__(self, ops: Engine, size: int):
        self.ops, self.size = ops, size

    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """Takes a random start (own,) as the mean, and draws the basis."""
        across, _ = qr(rng.standard_normal((row.size, self.size), np.float32))
        basis = self.ops.swap(self.ops.array(np.sqrt(row.size / self.size) * across))
        return {"mean": self.ops.array(row), "basis": basis}

    def decode(self, shared: Tree, codes: Array) -> Array:
        """The numbers (T, own) of codes (T, size)."""
        return shared["mean"].reshape(1, -1) + codes @ shared["basis"]


class Subspace(Initializer):
    """Rows that are codes (T, size); every task begins at code 0."""

    latent = True
    verify_with = ({"size": 6},)

    def __init__(self, ops: Engine, size: int):
        self.ops, self.basis = ops, Basis(ops, size)
        self.decoder: Decoder | None = self.basis

    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """No parameters: mean and basis are the decoder's, in theta["problem"]."""
        return {}

    def make(self, theta: Tree, support: Batch, tasks: int) -> Array:
        """Codes (T, size) of zero."""
        return self.ops.zeros((tasks, self.basis.size))


def subspace(ops: Engine, problem: Problem, *, size: Annotated[int, Bounds(1, 1024)] = 128) -> Subspace:
    """Builds the subspace with codes of `size` numbers (Rusu et al. 2019; Aghajanyan et al. 2021).

    Raises RecipeError where the adapter has no more numbers than the code.

    Use it when users are many and storage counts: a user is a code of 128 numbers, 256 bytes.
    Not when the learner has no backward pass along the steps (`reptile`, `imaml`): these can't train the basis.

    size: numbers of a code.
    """
    own = problem.layout.size
    if own <= size:
        raise RecipeError(
            f"initializer subspace: a code of {size} numbers is no smaller than the row of {own} that it stands for; "
            "lower initializer.size, or take initializer: universal"
        )
    return Subspace(ops, size)
