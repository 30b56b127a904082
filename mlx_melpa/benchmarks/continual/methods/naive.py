"""Naive fine-tuning: one row learns task after task, with nothing against forgetting."""

from .method import Method


class Naive(Method):
    """w_i = the steps of the rule on L_i, from w_{i-1}; L_i is the loss of task i alone.

    The lower baseline of papers on continual learning. From a run it is the plain use of the run's initialization.
    """
