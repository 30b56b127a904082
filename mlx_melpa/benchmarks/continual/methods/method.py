"""The base of all continual methods: one row that takes gradient steps on each task, and stored class means.

The class means of a task are stored in fp16 right after it was learned, and answer for it later, also when the row has
changed since. A task that was not learned yet is answered with the class means of its training examples under the
current row. A readout without class means is answered by the row alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import numpy as np

from ....config.build import Setup
from ....core import inner_loop
from ....core.class_means import average, load_class_means, single_examples
from ....core.layout import Layout
from ....core.protocols import Components
from ....core.types import Array, Batch, Episode, Example, Tree
from ....problems.language import Language
from ..flop_counter import FlopCounter
from ..tasks import Task

Means = dict[str, np.ndarray]
"""A task's class means (N, d), fp16, and their counts (N,), int32; empty for a readout without class means."""
WeightedBatches = tuple[tuple[float, Batch], ...]
"""Batches with the weights of their losses in the loss of a step."""


@dataclass(frozen=True)
class Initialization:
    """Where learning begins and how it moves: a random start with Adam, or a run's initializer and rule.

    `flops` counts the operations of learning, None where they can't be counted.
    """

    setup: Setup
    theta: Tree
    flops: FlopCounter | None = None

    @property
    def parts(self) -> Components:
        """The components that adapt."""
        return self.setup.parts

    @property
    def layout(self) -> Layout:
        """The layout of a row."""
        return self.setup.layout


@dataclass(frozen=True)
class EncodedTask:
    """A task as arrays: `support` to learn from; `test` to measure on, with class means added to it."""

    task: Task
    support: Batch
    test: Batch


def encode_task(parts: Components, task: Task) -> EncodedTask:
    """Encodes a task. The frozen prefix runs here, once."""
    problem = cast(Language, parts.problem)
    support = problem.support([Episode(task.name, task.train, (), task.labels)])
    return EncodedTask(task, support, problem.ask(task.test, task.labels))


@dataclass(frozen=True)
class State:
    """The state of a method: rows (n, P), and by task its labels, index of its row, class means, stored examples.

    `regularizer_state` goes from task to task. `statistics` are of texts seen so far.
    """

    rows: Array
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_of: Mapping[str, int] = field(default_factory=dict)
    means: Mapping[str, Means] = field(default_factory=dict)
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    regularizer_state: Tree = field(default_factory=dict)
    statistics: Mapping[str, np.ndarray] = field(default_factory=dict)


def weighted_losses(problem: Language, batches: WeightedBatches, shared: Tree, rows: Array) -> Array:
    """The weighted sum (T,) of the losses of several batches under the same rows (T, P)."""
    return sum(weight * problem.losses(rows, batch, shared) for weight, batch in batches)


class Method:
    """One row for all tasks, with nothing against forgetting; the other methods override parts of it.

    ordered: results depend on the order of tasks. at_once: `learn` gets all tasks in one call. trains: takes gradient
    steps. stores_examples: keeps training examples. block_per_task: needs an adapter of its rank for each task, side by
    side. strength: default weight of the penalty or distillation; None for methods without one.
    """

    ordered, at_once, trains, stores_examples, block_per_task = True, False, True, False, False
    strength: float | None = None

    def __init__(self, start: Initialization, *, steps: int, seed: int, tasks: int, strength: float | None = None):
        self.start, self.steps, self.seed, self.tasks = start, steps, seed, tasks
        self.strength = self.strength if strength is None else strength
        self.ops, self.problem = start.parts.ops, cast(Language, start.parts.problem)
        self.shared: Tree = start.theta["problem"]

    def begin(self) -> State:
        """The state before the first task: the row of the initialization."""
        return State(self.start.parts.initializer.make(self.start.theta, {}, 1))

    def learn(self, state: State, tasks: Sequence[EncodedTask]) -> State:
        """The state after `steps` gradient steps per task, on tasks that come together."""
        end = self.train(state, tasks)
        learned = self.add_tasks(state, end["rows"], tasks)
        return replace(learned, regularizer_state=self.finish_tasks(learned, end, tasks))

    def predict(self, state: State, asked: EncodedTask) -> Array:
        """Probabilities (1, n, N) of a task's labels for its test examples."""
        row = self.row_for(state, asked.task.name)
        return self.answers(row, asked, state.means.get(asked.task.name))

    def answers(self, row: Array, asked: EncodedTask, means: Means | None) -> Array:
        """Probabilities (1, n, N) under a row (1, P) with class means; None computes those of the training examples."""
        means = self.class_means(row, asked) if means is None else means
        return self.problem.predict(row, {**asked.test, **self.as_memory(means)}, self.shared)

    def nbytes(self, state: State) -> int:
        """Bytes per user: rows, class means and regularizer state in fp16, texts and labels in UTF-8, statistics."""
        regularizer = sum(2 * self.ops.numpy(array).size for array in state.regularizer_state.values())
        texts = sum(e.nbytes for kept in state.examples.values() for e in kept)
        arrays = [array for kept in (*state.means.values(), state.statistics) for array in kept.values()]
        rows = 2 * self.start.layout.size * state.rows.shape[0]
        return rows + sum(array.nbytes for array in arrays) + texts + regularizer

    def trained_parameters(self) -> int:
        """The number of parameters that steps change, over all tasks."""
        return self.start.layout.size

    def row_for(self, state: State, name: str) -> Array:
        """The row (1, P) that answers for a task."""
        return state.rows

    def train(self, state: State, tasks: Sequence[EncodedTask]) -> Tree:
        """The inner loop's state after the steps, one task a step, in turn. The rule's state begins anew."""
        components, theta = self.components(state), self.start.theta
        at = inner_loop.resume(components, self.first_row(state), state.regularizer_state)
        rng = np.random.default_rng([self.seed, 3, len(state.labels)])
        for k in range(self.steps * len(tasks)):
            if k % len(tasks) == 0:
                order = rng.permutation(len(tasks))
            batches = self.batches(state, tasks[order[k % len(tasks)]], rng)
            grads = self.project_gradient(state, self.gradient(components, k, at, batches))
            at = inner_loop.move(components, theta, k, at, grads)
            self.ops.evaluate(at)
        return at

    def first_row(self, state: State) -> Array:
        """The row (1, P) from which the steps on the next task begin."""
        return state.rows

    def components(self, state: State) -> Components:
        """The components that adapt to the next task."""
        return self.start.parts

    def batches(self, state: State, now: EncodedTask, rng: np.random.Generator) -> WeightedBatches:
        """The weighted batches of one step's loss; that of the new task is the first."""
        return ((1.0, now.support),)

    def gradient(self, components: Components, k: int, at: Tree, batches: WeightedBatches) -> Array:
        """The gradient (1, own) of the k-th step."""
        for _, batch in batches:
            self.count(batch, backward=True)
        losses = partial(weighted_losses, self.problem, batches, self.shared)
        return inner_loop.gradient(components, self.start.theta, at, batches[0][1], losses)

    def project_gradient(self, state: State, grads: Array) -> Array:
        """The part of the gradient (1, own) that changes the row."""
        return grads

    def add_tasks(self, state: State, row: Array, tasks: Sequence[EncodedTask]) -> State:
        """The state with these tasks learned under a row (1, P)."""
        labels = {one.task.name: one.task.labels for one in tasks}
        means = {one.task.name: self.class_means(row, one) for one in tasks}
        return replace(state, rows=row, labels={**state.labels, **labels}, means={**state.means, **means})

    def finish_tasks(self, state: State, at: Tree, tasks: Sequence[EncodedTask]) -> Tree:
        """The regularizer's state after these tasks; class means are constant in its gradients."""

        def examples() -> Iterator[Batch]:
            for one in tasks:
                means = load_class_means(state.means[one.task.name])
                for batch in single_examples(self.start.parts, one.task.train, one.task.labels, means):
                    self.count(batch, backward=True)
                    yield batch

        return inner_loop.end(self.components(state), self.start.theta, at, examples)

    def class_means(self, row: Array, one: EncodedTask) -> Means:
        """The class means of a task's training examples under a row (1, P)."""
        self.count(one.support)
        kept = self.problem.memory(row, one.support, self.shared)
        if not kept:
            return {}
        return average(*(self.ops.numpy(kept[name])[0] for name in ("class_sums", "class_counts")))

    def as_memory(self, means: Means) -> Batch:
        """Class means as the entries of a batch that the readout reads."""
        return {name: self.ops.array(value) for name, value in load_class_means(means).items()}

    def count(self, batch: Batch, backward: bool = False) -> None:
        """Counts the operations of one pass over a batch."""
        if self.start.flops is not None:
            self.start.flops.add(batch, backward)
