"""EWC: a quadratic penalty around the last task's row, weighted by the Fisher information of earlier tasks."""

from dataclasses import replace

from ....core.protocols import Components
from ....regularizers.ewc import ewc
from .method import Method, State


class Ewc(Method):
    """w_i = the steps on L_i + strength / 2 sum_k F_k (w_k - w_{i-1,k})^2, F the decayed sum of the tasks' Fishers.

    Kirkpatrick et al. 2017 in the online form of Schwarz et al. 2018 (see `regularizers/ewc.py`). F is the diagonal
    over a user's own numbers, from one gradient per training example, with class means held constant. It is scaled to a
    mean of 1.
    """

    strength: float = 0.1

    def components(self, state: State) -> Components:
        """The components with this penalty in place of the initialization's."""
        return replace(self.start.parts, regularizer=ewc(self.ops, strength=self.strength))
