"""ConPET, static: one row learns each task beside a bounded sample of all stored examples."""

from dataclasses import replace

import numpy as np

from ....core.bounds import Count, Share
from ....core.types import Example
from .method import Lesson, Start, State, Weighted
from .replay import Replay


class ConPetStatic(Replay):
    """w_i = the steps on (1 - share) L_i + share sum_{j<i} (n_j / n) M_j, n_j of the n replayed examples from task j.

    Song et al. 2023: with a fixed share of each step and a bounded number of replayed examples, a step costs the same
    however many tasks there were. They draw each step's stored examples anew; here the n <= `buffer` are drawn once for
    a task, from all that is stored alike, since the frozen prefix then runs once for them. Unlike `replay` a step
    replays all earlier tasks, each example among its own task's candidates. A task's store is that of `replay`; the
    paper picks its examples by clustering.
    """

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, buffer: int, share: float):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer)
        self.share = share

    def batches(self, state: State, now: Lesson, rng: np.random.Generator) -> Weighted:
        """The task's batch, and those of the tasks that the replayed examples are of."""
        drawn = replace(state, examples=self.drawn(state))
        if not drawn.examples:
            return super().batches(state, now, rng)
        total = sum(map(len, drawn.examples.values()))
        replayed = [
            (self.share * len(some) / total, {**self.stored(drawn, name), **self.recalled(state.means[name])})
            for name, some in drawn.examples.items()
        ]
        return (1 - self.share, now.support), *replayed

    def drawn(self, state: State) -> dict[str, tuple[Example, ...]]:
        """The stored examples that the next task's steps replay, by task, at most `buffer` of them."""
        rng = np.random.default_rng([self.seed, 5, len(state.labels)])
        held = [(name, example) for name, kept in state.examples.items() for example in kept]
        found: dict[str, tuple[Example, ...]] = {}
        for i in sorted(rng.permutation(len(held))[: self.buffer]):
            name, example = held[i]
            found[name] = (*found.get(name, ()), example)
        return found


def con_pet_static(
    start: Start, *, steps: int, seed: int, tasks: int, buffer: Count = 50, share: Share = 0.5
) -> ConPetStatic:
    """Builds static ConPET: `buffer` stored examples a task, as many replayed, with this `share` of a step's loss."""
    return ConPetStatic(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer, share=share)
