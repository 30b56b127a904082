"""EWC: one row, held to where the last task ended by how much the earlier tasks depend on each number."""

from dataclasses import replace

from ....core.bounds import Positive
from ....core.protocols import Parts
from ....regularizers.ewc import ewc as penalty
from .method import Method, Start, State


class Ewc(Method):
    """w_i = the steps on L_i + strength / 2 sum_k F_k (w_k - w_{i-1,k})^2, F the decayed sum of the tasks' Fishers.

    Kirkpatrick et al. 2017 in the online form of Schwarz et al. 2018 (see `regularizers/ewc.py`). F is the diagonal
    over the row's own numbers, from one gradient for each training example under the class means.
    """

    strength = 0.1

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, strength: float):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
        self.regularizer = penalty(self.ops, strength=strength)

    def acting(self, state: State) -> Parts:
        """The parts with this penalty in place of the start's."""
        return replace(self.start.parts, regularizer=self.regularizer)


def ewc(start: Start, *, steps: int, seed: int, tasks: int, strength: Positive = Ewc.strength) -> Ewc:
    """Builds online EWC with the `strength` of its penalty, for Fishers scaled to a mean of 1."""
    return Ewc(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
