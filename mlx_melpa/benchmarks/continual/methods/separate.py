"""One adapter per task: nothing is shared and nothing forgotten, an upper bound that grows with the tasks."""

from collections.abc import Sequence
from dataclasses import replace

from ....core.types import Array
from .method import Lesson, Method, Start, State


class Separate(Method):
    """w_i = the steps on L_i from the start; the known task picks its row. R[j, j] is the single-task accuracy."""

    ordered = False

    def begin(self) -> State:
        """No rows yet."""
        return State(self.ops.zeros((0, self.start.layout.size)))

    def learn(self, state: State, lessons: Sequence[Lesson]) -> State:
        """The state with a row more for each task."""
        for one in lessons:
            fresh = self.trained(super().begin(), [one])["rows"]
            rows = self.ops.concatenate([state.rows, fresh], 0)
            row_of = {**state.row_of, one.task.name: state.rows.shape[0]}
            state = replace(self.known(state, fresh, [one]), rows=rows, row_of=row_of)
        return state

    def row(self, state: State, name: str) -> Array:
        """The task's own row; the start for one that was not learned yet."""
        if name not in state.row_of:
            return super().begin().rows
        at = state.row_of[name]
        return state.rows[at : at + 1]

    def trainable(self) -> int:
        """A row for each task."""
        return self.tasks * super().trainable()


def separate(start: Start, *, steps: int, seed: int, tasks: int) -> Separate:
    """Builds one adapter per task."""
    return Separate(start, steps=steps, seed=seed, tasks=tasks)
