"""Settings of `melpa eval`: numbers of episodes, methods, and the seed."""

from dataclasses import dataclass

from ..errors import MelpaError
from .methods import METHODS

COMPARED = tuple(name for name in METHODS if name != "multi_task")
"""Methods that one run can be compared with; multi-task training makes a run of its own."""
USUAL = tuple(name for name in COMPARED if name != "in_context")
"""Examples in context take long to read, so they are measured only if they are named."""


@dataclass(frozen=True)
class CompareSettings:
    """The settings of a comparison; `steps` None are those of the run."""

    episodes: int = 600
    tuning_episodes: int = 60
    """Validation episodes on which baselines are tuned."""
    steps: int | None = None
    seed: int = 0
    methods: tuple[str, ...] = USUAL
    generate: int = 0
    """The number of episodes for which each method writes a text, whose overlap with the user's own is measured."""
    curves: bool = False
    """True to measure at the usual steps on the way too."""
    tasks_per_pass: int = 4

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in COMPARED]
        if unknown:
            raise MelpaError(f"--methods: '{unknown[0]}' is no method; choose from {', '.join(COMPARED)}")
