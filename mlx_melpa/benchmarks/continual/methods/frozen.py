"""The start as it is: no step is taken, and only class means are learned."""

from .method import Method, Start


class Frozen(Method):
    """w_i = w_0: prototypes on features that never move, so that nothing is forgotten; or labels' words as they are.

    The steps of the other methods have to be worth more than this.
    """

    ordered = learns = False

    def trainable(self) -> int:
        """None."""
        return 0


def frozen(start: Start, *, steps: int, seed: int, tasks: int) -> Frozen:
    """Builds the start as it is; `steps` is for the others."""
    return Frozen(start, steps=0, seed=seed, tasks=tasks)
