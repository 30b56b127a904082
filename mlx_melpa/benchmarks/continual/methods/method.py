"""What every method shares: a start, tasks made ready, a row that takes steps on them, and answers.

A task that was learned is answered with the class means that were taken right after it was learned, rounded to fp16: no
example is needed again, and rows that move on leave them behind. A task that was not learned yet is answered with the
class means of its training examples under the row as it is. A readout without means is answered by the row alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from ....config.build import Composition
from ....core import inner_loop as adapt
from ....core.class_means import alone, averaged, recall
from ....core.layout import Layout
from ....core.protocols import Parts
from ....core.types import Array, Batch, Episode, Example, Tree, spelled
from ..tasks import Task

Means = dict[str, np.ndarray]
"""A task's class means (N, d), fp16, and their counts (N,), int32; empty where a readout keeps none."""
Weighted = tuple[tuple[float, Batch], ...]
"""Batches with the shares of their losses in a step's."""


@dataclass(frozen=True)
class Start:
    """Where learning begins and how it moves: a random start with Adam, or a run's initializer and rule."""

    composed: Composition
    theta: Tree

    @property
    def parts(self) -> Parts:
        """What adapts."""
        return self.composed.parts

    @property
    def layout(self) -> Layout:
        """What a row's numbers are."""
        return self.composed.layout


@dataclass(frozen=True)
class Lesson:
    """A task as arrays: `support` to learn from, `test` to be judged on with class means beside it."""

    task: Task
    support: Batch
    test: Batch


def lesson(parts: Parts, task: Task) -> Lesson:
    """Makes a task ready; its frozen prefix runs here, once."""
    problem: Any = parts.problem
    support = problem.support([Episode(task.name, task.train, (), task.labels)])
    return Lesson(task, support, problem.ask(task.test, task.labels))


@dataclass(frozen=True)
class State:
    """What a method keeps: rows (n, P), and by task name its labels, its row, class means and stored examples.

    `carry` is what the regularizer takes from task to task, `statistics` what a method knows of the texts it has seen.
    """

    rows: Array
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_of: Mapping[str, int] = field(default_factory=dict)
    means: Mapping[str, Means] = field(default_factory=dict)
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    carry: Tree = field(default_factory=dict)
    statistics: Mapping[str, np.ndarray] = field(default_factory=dict)


class Together:
    """A problem whose batch is weighted batches, all under one row."""

    def __init__(self, problem: Any):
        self.problem, self.layout = problem, problem.layout

    def losses(self, rows: Array, batch: Weighted) -> Array:
        """The sum of shares and losses (T,)."""
        return sum(share * self.problem.losses(rows, each) for share, each in batch)


class Method:
    """One row over all tasks, with nothing against forgetting; the others change parts of it.

    ordered: results depend on the order of tasks. at_once: gets all tasks in one call of `learn`. rehearses: stores
    examples. blocks: wants an adapter of its rank for each task, side by side. strength: of what holds the row, where
    there is such a thing; a class has its default. learns: takes steps.
    """

    ordered, at_once, rehearses, blocks, learns = True, False, False, False, True
    strength: float | None = None

    def __init__(self, start: Start, *, steps: int, seed: int, tasks: int, strength: float | None = None):
        self.start, self.steps, self.seed, self.tasks = start, steps, seed, tasks
        self.strength = self.strength if strength is None else strength
        self.ops, self.problem = start.parts.ops, cast(Any, start.parts.problem)

    def begin(self) -> State:
        """The state before the first task: the start's row."""
        return State(self.start.parts.initializer.make(self.start.theta["initializer"], {}, 1))

    def learn(self, state: State, lessons: Sequence[Lesson]) -> State:
        """The state after `steps` steps a task, on tasks that come together."""
        at = self.trained(state, lessons)
        known = self.known(state, at["rows"], lessons)
        return replace(known, carry=self.carry(known, at, lessons))

    def predict(self, state: State, asked: Lesson) -> Array:
        """Probabilities (1, n, N) of a task's labels for its test examples."""
        name = asked.task.name
        row = self.row(state, name)
        means = state.means[name] if name in state.means else self.means(row, asked)
        return self.problem.predict(row, {**asked.test, **self.recalled(means)})

    def nbytes(self, state: State) -> int:
        """Bytes of one person: rows, class means and what is carried as fp16, texts and labels as UTF-8, statistics."""
        carried = sum(2 * self.ops.numpy(array).size for array in state.carry.values())
        texts = sum(len(text.encode()) for kept in state.examples.values() for e in kept for text in spelled(e))
        arrays = [array for kept in (*state.means.values(), state.statistics) for array in kept.values()]
        rows = 2 * int(self.start.layout.own.sum()) * state.rows.shape[0]
        return rows + sum(array.nbytes for array in arrays) + texts + carried

    def trainable(self) -> int:
        """The numbers that steps move, over all tasks."""
        return int(self.start.layout.own.sum())

    def row(self, state: State, name: str) -> Array:
        """The row (1, P) that answers for a task."""
        return state.rows

    def trained(self, state: State, lessons: Sequence[Lesson]) -> Tree:
        """The adaptation after the steps, with a fresh memory of the rule; one whole task a step, in turn."""
        acting, theta = self.acting(state), self.start.theta
        together: Any = Together(acting.problem)
        parts = replace(acting, problem=together)
        at = adapt.resume(parts, self.first(state), state.carry)
        rng = np.random.default_rng([self.seed, 3, len(state.labels)])
        for k in range(self.steps * len(lessons)):
            if k % len(lessons) == 0:
                turn = rng.permutation(len(lessons))
            batches = self.batches(state, lessons[turn[k % len(lessons)]], rng)
            grads = self.let_through(state, self.gradient(parts, k, at, batches))
            at = adapt.move(parts, theta, k, at, grads)
            parts.ops.evaluate(at)
        return at

    def first(self, state: State) -> Array:
        """The row (1, P) that the next task's steps begin from."""
        return state.rows

    def gradient(self, parts: Parts, k: int, at: Tree, batches: Weighted) -> Array:
        """The gradient (1, own) of the k-th step; the new task's batch is the first."""
        return adapt.gradient(parts, self.start.theta, at, cast(Any, batches))

    def acting(self, state: State) -> Parts:
        """The parts that act on the next task."""
        return self.start.parts

    def batches(self, state: State, now: Lesson, rng: np.random.Generator) -> Weighted:
        """What one step's loss is the sum of."""
        return ((1.0, now.support),)

    def let_through(self, state: State, grads: Array) -> Array:
        """What of the gradient (1, own) moves the row."""
        return grads

    def known(self, state: State, row: Array, lessons: Sequence[Lesson]) -> State:
        """The state with these tasks learned under a row (1, P)."""
        labels = {one.task.name: one.task.labels for one in lessons}
        means = {one.task.name: self.means(row, one) for one in lessons}
        return replace(state, rows=row, labels={**state.labels, **labels}, means={**state.means, **means})

    def carry(self, state: State, at: Tree, lessons: Sequence[Lesson]) -> Tree:
        """What the regularizer takes along when these tasks are closed; class means are constant in its gradients."""

        def each() -> Iterator[Batch]:
            for one in lessons:
                yield from alone(self.start.parts, one.task.train, one.task.labels, recall(state.means[one.task.name]))

        return adapt.end(self.acting(state), self.start.theta, at, each)

    def means(self, row: Array, one: Lesson) -> Means:
        """The class means of a task's training examples under a row (1, P)."""
        kept = self.problem.memory(row, one.support)
        if not kept:
            return {}
        return averaged(*(self.ops.numpy(kept[name])[0] for name in ("prior", "known")))

    def recalled(self, means: Means) -> Batch:
        """Class means as a readout takes them."""
        return {name: self.ops.array(value) for name, value in recall(means).items()}
