"""EWC: a quadratic penalty around the last task's row, weighted by the Fisher information of earlier tasks."""

from dataclasses import replace

from ....core.bounds import Positive
from ....core.protocols import Parts
from ....regularizers.ewc import ewc as penalty
from .method import Initialization, Method, State


class Ewc(Method):
    """w_i = the steps on L_i + strength / 2 sum_k F_k (w_k - w_{i-1,k})^2, F the decayed sum of the tasks' Fishers.

    Kirkpatrick et al. 2017 in the online form of Schwarz et al. 2018 (see `regularizers/ewc.py`). F is the diagonal
    over a user's own numbers, from one gradient per training example, with class means held constant.
    """

    strength = 0.1

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int, strength: float):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
        self.regularizer = penalty(self.ops, strength=strength)

    def components(self, state: State) -> Parts:
        """The components with this penalty in place of the initialization's."""
        return replace(self.start.parts, regularizer=self.regularizer)


def ewc(start: Initialization, *, steps: int, seed: int, tasks: int, strength: Positive = Ewc.strength) -> Ewc:
    """Builds online EWC with the `strength` of its penalty, for Fishers scaled to a mean of 1."""
    return Ewc(start, steps=steps, seed=seed, tasks=tasks, strength=strength)
