"""Experience replay: a few examples of each earlier task are stored and learned again."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....core.bounds import Count
from ....core.types import Array, Batch, Example
from .method import Lesson, Method, Start, State, Weighted


class Replay(Method):
    """w_i = the steps on (L_i + M_j) / 2, j < i drawn anew for each step, M_j the loss on what is stored of task j.

    Chaudhry et al. 2019 stack as many stored examples as new ones in a batch; here a step's stored ones are of one
    task, since candidates differ between tasks. With class means a stored example is held to those of its task that
    answer for it later. A task's store is a uniform sample of its training examples.
    """

    rehearses = True

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, buffer: int):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks)
        self.buffer = buffer
        self.ready: dict[str, tuple[tuple[Example, ...], Batch]] = {}

    def batches(self, state: State, now: Lesson, rng: np.random.Generator) -> Weighted:
        """The task's batch, and that of an earlier task."""
        names = list(state.examples)
        if not names:
            return super().batches(state, now, rng)
        name = names[rng.integers(len(names))]
        earlier = {**self.stored(state, name), **self.recalled(state.means[name])}
        return (0.5, now.support), (0.5, earlier)

    def stored(self, state: State, name: str) -> Batch:
        """The batch of a task's stored examples; the frozen prefix runs once for it."""
        examples = state.examples[name]
        if name not in self.ready or self.ready[name][0] != examples:
            self.ready[name] = examples, self.problem.ask(examples, state.labels[name])
        return self.ready[name][1]

    def known(self, state: State, row: Array, lessons: Sequence[Lesson]) -> State:
        """The state with a sample of each task's examples."""
        rng = np.random.default_rng([self.seed, 4, len(state.labels)])
        kept = {one.task.name: sample(one.task.train, self.buffer, rng) for one in lessons}
        return replace(super().known(state, row, lessons), examples={**state.examples, **kept})


def sample(examples: Sequence[Example], size: int, rng: np.random.Generator) -> tuple[Example, ...]:
    """At most `size` of the examples, in their order, each with the same chance."""
    return tuple(examples[i] for i in sorted(rng.permutation(len(examples))[:size]))


def replay(start: Start, *, steps: int, seed: int, tasks: int, buffer: Count = 50) -> Replay:
    """Builds experience replay with `buffer` stored examples a task."""
    return Replay(start, steps=steps, seed=seed, tasks=tasks, buffer=buffer)
