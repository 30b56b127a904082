"""The initialization without a step: only class means are learned."""

from .method import Initialization, Method


class Frozen(Method):
    """w_i = w_0: prototypes on features that never change, or the words of the labels. Nothing is forgotten.

    Methods that take steps have to do better than this.
    """

    ordered = trains = False

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int):
        super().__init__(start, steps=0, seed=seed, tasks=tasks)

    def trained_parameters(self) -> int:
        """0."""
        return 0
