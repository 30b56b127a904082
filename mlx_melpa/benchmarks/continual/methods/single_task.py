"""One adapter per task: an upper bound that shares nothing, forgets nothing and grows with the tasks."""

from collections.abc import Sequence
from dataclasses import replace

from ....core.types import Array
from .method import EncodedTask, Method, State


class SingleTask(Method):
    """w_i = the steps on L_i from the start. The known task selects its row. R[j, j] is the single-task accuracy."""

    ordered = False

    def begin(self) -> State:
        """No rows yet."""
        return State(self.ops.zeros((0, self.start.layout.size)))

    def learn(self, state: State, tasks: Sequence[EncodedTask]) -> State:
        """The state with one more row for each task."""
        for one in tasks:
            row = self.train(super().begin(), [one])["rows"]
            rows = self.ops.concatenate([state.rows, row], 0)
            row_of = {**state.row_of, one.task.name: state.rows.shape[0]}
            state = replace(self.add_tasks(state, row, [one]), rows=rows, row_of=row_of)
        return state

    def row_for(self, state: State, name: str) -> Array:
        """The task's own row; the initialization for a task that was not learned yet."""
        if name not in state.row_of:
            return super().begin().rows
        at = state.row_of[name]
        return state.rows[at : at + 1]

    def trained_parameters(self) -> int:
        """A row for each task."""
        return self.tasks * super().trained_parameters()
