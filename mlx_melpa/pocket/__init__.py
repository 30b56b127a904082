"""The embedded base: a small English language model of our own, so that the first run needs no network."""

from pathlib import Path

from ..backends.checkpoints import POCKET


def folder() -> Path:
    """The folder of the embedded base, as `mlx_lm.load` takes it; `model: pocket` names it in recipes."""
    return POCKET
