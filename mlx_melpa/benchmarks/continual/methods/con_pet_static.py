"""ConPET, static: one row learns each task together with a bounded sample of all stored examples."""

from dataclasses import replace

import numpy as np

from ....core.types import Example
from .method import EncodedTask, Initialization, State, WeightedBatches
from .replay import Replay


class ConPetStatic(Replay):
    """w_i = the steps on (1 - share) L_i + share sum_{j<i} (n_j / n) M_j, n_j of the n replayed examples from task j.

    Song et al. 2023: with a fixed share of each step and a bounded number of replayed examples, a step costs the same
    for any number of tasks. They draw the stored examples anew for each step. Here n <= `buffer` are drawn once per
    task, uniformly from all stored ones, so that the frozen prefix runs once for them. Unlike `replay` a step replays
    all earlier tasks, each example among its own task's candidates. A task's store is that of `replay`; the paper
    picks its examples by clustering.
    """

    def __init__(
        self, start: Initialization, *, steps: int, seed: int, tasks: int, buffer: int = 50, share: float = 0.5
    ):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer)
        self.share = share

    def batches(self, state: State, now: EncodedTask, rng: np.random.Generator) -> WeightedBatches:
        """The task's batch, and those of the earlier tasks' replayed examples."""
        drawn = replace(state, examples=self.replayed(state))
        if not drawn.examples:
            return super().batches(state, now, rng)
        total = sum(map(len, drawn.examples.values()))
        earlier = [
            (self.share * len(some) / total, self.stored_batch(drawn, name)) for name, some in drawn.examples.items()
        ]
        return (1 - self.share, now.support), *earlier

    def replayed(self, state: State) -> dict[str, tuple[Example, ...]]:
        """At most `buffer` stored examples by task, which the steps on the next task replay."""
        rng = np.random.default_rng([self.seed, 5, len(state.labels)])
        stored = [(name, example) for name, kept in state.examples.items() for example in kept]
        drawn: dict[str, tuple[Example, ...]] = {}
        for i in sorted(rng.permutation(len(stored))[: self.buffer]):
            name, example = stored[i]
            drawn[name] = (*drawn.get(name, ()), example)
        return drawn
