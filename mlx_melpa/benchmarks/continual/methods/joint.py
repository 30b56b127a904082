"""Joint (multi-task) training: one row learns all tasks at once, an upper bound."""

from .method import Method


class Joint(Method):
    """w = `steps` steps a task on mean_i L_i, one task a step, in turn, in an order that is drawn anew for each round.

    The loss of a step is that of one task, so that a step costs the same as in other methods. R has its last row only.
    """

    ordered, at_once = False, True
