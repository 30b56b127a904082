"""Task streams: several tasks, one after another, as one episode."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..core.types import AnyEpisode, Splits, Tasks
from ..errors import DataError


class Streams(Tasks):
    """Draws streams of `length` tasks in random order, which have no group, user or label in common.

    Simulated tasks have no keys: each is drawn anew.
    """

    def __init__(self, tasks: Tasks, length: int, split: str):
        self.tasks, self.length = tasks, length
        if tasks.keys is None:
            return
        least = (tasks.ways or 2) if tasks.kind == "label" else 1
        if len(tasks.keys) < least * length:
            remedy = "hold out fewer" if split == "training" else "set tasks.validation: 0 to check on training's"
            raise DataError(
                f"a stream of {length} tasks takes {least * length} {tasks.kind}s, and {split} has {len(tasks.keys)}; "
                f"lower train.stream, or {remedy}"
            )

    def episode(self, rng: np.random.Generator) -> tuple[AnyEpisode, ...]:
        """Draws the episodes of one stream, in order; all randomness comes from `rng`."""
        return tuple(tasks.episode(rng) for tasks in self._apart(rng))

    def _apart(self, rng: np.random.Generator) -> Iterator[Tasks]:
        """One source for each task of a stream, with no key in common."""
        keys = self.tasks.keys
        if keys is None:
            yield from [self.tasks] * self.length
            return
        each = (self.tasks.ways or len(keys) // self.length) if self.tasks.kind == "label" else 1
        mixed = [keys[i] for i in rng.permutation(len(keys))]
        for start in range(0, each * self.length, each):
            yield self.tasks.only(mixed[start : start + each])


def streams(splits: Splits, length: int) -> Splits:
    """The splits, with training and validation as streams of `length` tasks; unchanged for 1.

    Raises DataError if one of them has too few tasks for a stream.
    """
    if length == 1:
        return splits
    train, validation = Streams(splits.train, length, "training"), Streams(splits.validation, length, "validation")
    return replace(splits, train=train, validation=validation)
