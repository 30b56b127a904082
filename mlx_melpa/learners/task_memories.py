"""Class means stored for each task of a stream, and the gradient through them.

An earlier task's query set is scored under the current rows with the class means of its support set, computed at the
task's end (see `problem.memory`). At test time class means are all that is stored. The gradient goes through them:
they depend on weights that all tasks share, such as a readout's metric.
"""

from collections.abc import Sequence

from ..core.protocols import Components
from ..core.types import Array, Batch, Tree


class TaskMemories:
    """Memories of tasks at their ends, with the cotangents that later losses give to each."""

    def __init__(self, parts: Components, shared: Tree, supports: Sequence[Batch], ends: Sequence[Array]):
        """Computes the memories of tasks from their supports and the rows (T, P) at their ends."""
        self.parts, self.shared, self.supports, self.ends = parts, shared, supports, ends
        self.kept: list[Batch] = []
        for support, rows in zip(supports, ends, strict=True):
            self.kept.append(parts.problem.memory(rows, support, shared))
            parts.ops.evaluate(self.kept[-1])
        self.cotangents: list[Tree] = [parts.ops.zeros_like(memory) for memory in self.kept]

    def query_gradient(
        self, rows: Array, weight: float, question: Batch, task: int
    ) -> tuple[Array, tuple[Array, Tree]]:
        """Weighted losses (T,) on questions about a task, and their gradients over rows (T, P) and what is shared.

        The gradient over the task's memory is added to its cotangent.
        """
        ops, problem = self.parts.ops, self.parts.problem

        def loss(at: tuple[Array, Tree, Batch]) -> tuple[Array, Array]:
            losses = weight * problem.losses(at[0], {**question, **at[2]}, at[1])
            return losses.sum(), losses

        _, losses, (of_rows, of_shared, of_memory) = ops.value_and_grad(loss, (rows, self.shared, self.kept[task]))
        self.cotangents[task] = ops.add(self.cotangents[task], of_memory)
        ops.evaluate(losses, of_rows, of_shared, self.cotangents[task])
        return losses, (of_rows, of_shared)

    def vjp(self, task: int) -> tuple[Array, Tree]:
        """The cotangent of a task's memory, pulled back to the rows (T, P) at its end and to what is shared."""
        ops, at = self.parts.ops, (self.ends[task], self.shared)
        if not self.kept[task]:
            return ops.zeros_like(at)

        def memory(at: tuple[Array, Tree]) -> Batch:
            return self.parts.problem.memory(at[0], self.supports[task], at[1])

        return ops.vjp(memory, at, self.cotangents[task])
