"""Experience replay: stores a few examples of each task and learns them again with later tasks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....core.types import Array, Batch, Example
from .method import EncodedTask, Initialization, Method, State, WeightedBatches


class Replay(Method):
    """w_i = the steps on (L_i + M_j) / 2, j < i drawn anew for each step, M_j the loss on task j's stored examples.

    Chaudhry et al. 2019 stack as many stored examples as new ones in a batch. Here the stored examples of a step are of
    one task, since candidates differ between tasks. The stored class means of that task are in its batch. A task's
    store is a uniform sample of `buffer` training examples.
    """

    stores_examples = True

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int, buffer: int = 50):
        super().__init__(start, steps=steps, seed=seed, tasks=tasks)
        self.buffer = buffer
        self.encoded: dict[str, tuple[tuple[Example, ...], Batch]] = {}

    def batches(self, state: State, now: EncodedTask, rng: np.random.Generator) -> WeightedBatches:
        """The task's batch, and that of an earlier task."""
        names = list(state.examples)
        if not names:
            return super().batches(state, now, rng)
        name = names[rng.integers(len(names))]
        return (0.5, now.support), (0.5, self.stored_batch(state, name))

    def stored_batch(self, state: State, name: str) -> Batch:
        """The stored examples of a task with its class means; the frozen prefix runs once for them."""
        examples = state.examples[name]
        if name not in self.encoded or self.encoded[name][0] != examples:
            self.encoded[name] = examples, self.problem.ask(examples, state.labels[name])
        return {**self.encoded[name][1], **self.as_memory(state.means[name])}

    def add_tasks(self, state: State, row: Array, tasks: Sequence[EncodedTask]) -> State:
        """The state with a sample of each task's examples."""
        rng = np.random.default_rng([self.seed, 4, len(state.labels)])
        kept = {one.task.name: sample(one.task.train, self.buffer, rng) for one in tasks}
        return replace(super().add_tasks(state, row, tasks), examples={**state.examples, **kept})


def sample(examples: Sequence[Example], size: int, rng: np.random.Generator) -> tuple[Example, ...]:
    """A uniform sample of at most `size` examples, in their order."""
    return tuple(examples[i] for i in sorted(rng.permutation(len(examples))[:size]))
