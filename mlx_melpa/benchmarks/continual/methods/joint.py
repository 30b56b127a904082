"""All data at once: one row learns all tasks together, an upper bound."""

from .method import Method, Start


class Joint(Method):
    """w = `steps` steps a task on mean_i L_i, one task a step, taking turns in an order drawn anew each round.

    The step's loss is one task's, so that a step costs what it costs the others. R has its last row only.
    """

    ordered, at_once = False, True


def joint(start: Start, *, steps: int, seed: int, tasks: int) -> Joint:
    """Builds joint learning."""
    return Joint(start, steps=steps, seed=seed, tasks=tasks)
