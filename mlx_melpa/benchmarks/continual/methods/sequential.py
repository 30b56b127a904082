"""Sequential LoRA: one row learns task after task, with nothing against forgetting."""

from .method import Method, Start


class Sequential(Method):
    """w_i = the steps of the rule on L_i, from w_{i-1}; L_i is the loss of task i alone.

    The lower baseline of all papers on continual learning. From a run it is the plain use of what the run learned.
    """


def sequential(start: Start, *, steps: int, seed: int, tasks: int) -> Sequential:
    """Builds sequential LoRA."""
    return Sequential(start, steps=steps, seed=seed, tasks=tasks)
