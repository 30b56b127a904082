"""A mixture of simulated people and tasks from files."""

from dataclasses import asdict

import numpy as np

from ..core.bounds import Natural, Share
from ..core.types import Episode, Splits, Tasks
from .episodes import EpisodeSettings
from .jsonl import jsonl
from .splits import SplitSettings
from .synthetic import Variant, synthetic

WAYS = 5
"""Labels of simulated people, where the files' tasks have as many as there are."""


class Either(Tasks):
    """Draws from tasks of files with probability `share`, else simulated ones."""

    def __init__(self, own: Tasks, simulated: Tasks, share: float):
        self.own, self.simulated, self.share = own, simulated, share

    def episode(self, rng: np.random.Generator) -> Episode:
        """Draws an episode of either kind."""
        chosen = self.own if rng.random() < self.share else self.simulated
        episode: Episode = chosen.episode(rng)
        return episode


def mixed(
    *,
    files: str | list[str],
    group: str | None = None,
    label: str | None = None,
    episodes: EpisodeSettings = EpisodeSettings(),  # noqa: B008 (frozen)
    share: Share = 0.5,
    seed: Natural = 0,
) -> Splits:
    """Mixes the tasks of files with simulated people of the same form; validation and test are the files' own.

    See `jsonl` for the files and their errors.

    Use it when your own data has some tasks, but few: melpa prepare --data does.
    Not when it has hundreds of tasks: take `jsonl`.

    files: files or folders with examples of many tasks.
    share: the chance of a task from the files.
    Other settings: as `jsonl`.
    """
    ways, shots, queries = episodes.ways or WAYS, episodes.shots, episodes.queries or episodes.shots
    tasks = SplitSettings(**asdict(episodes), hold_out=0.0, seed=seed)
    own = jsonl(train=files, group=group, label=label, tasks=tasks)
    variant: Variant = "people" if own.train.episode(np.random.default_rng(0)).labels else "style"
    made = synthetic(variant=variant, ways=ways, shots=shots, queries=queries, seed=seed)
    train = Either(own.train, made.train, share)
    return Splits(train, own.validation, own.test, own.training_hashes | made.training_hashes, own.notes)
