"""What is kept of each task of a stream when it ends, and the way back through it.

A question about an earlier task is answered under the rows of the moment with the class means of its examples as they
were at the task's end (see `problem.memory`); at test they are stored and nothing else is. The gradient goes through
them: they were computed with what all tasks share (a readout's metric), which would else be trained on one side only.
"""

from collections.abc import Sequence

from ..core.protocols import Parts
from ..core.types import Array, Batch, Tree


class Recall:
    """Memories of tasks at their ends, and what later losses ask of each: cotangents, summed on the way back."""

    def __init__(self, parts: Parts, supports: Sequence[Batch], ends: Sequence[Array]):
        """Computes the memories of tasks from their supports and the rows (T, P) at their ends."""
        self.parts, self.supports, self.ends = parts, supports, ends
        self.kept: list[Batch] = []
        for support, rows in zip(supports, ends, strict=True):
            self.kept.append(parts.problem.memory(rows, support))
            parts.ops.evaluate(self.kept[-1])
        self.asked: list[Tree] = [parts.ops.zeros_like(memory) for memory in self.kept]

    def gradient(self, rows: Array, weight: float, question: Batch, task: int) -> tuple[Array, Array]:
        """Weighted losses (T,) on questions about a task, and their gradient (T, P); the memory's own is noted."""
        ops, problem = self.parts.ops, self.parts.problem

        def loss(at: tuple[Array, Batch]) -> tuple[Array, Array]:
            losses = weight * problem.losses(at[0], {**question, **at[1]})
            return losses.sum(), losses

        _, losses, (of_rows, of_memory) = ops.value_and_grad(loss, (rows, self.kept[task]))
        self.asked[task] = ops.add(self.asked[task], of_memory)
        ops.evaluate(losses, of_rows, self.asked[task])
        return losses, of_rows

    def pull(self, task: int) -> Array:
        """What the losses from a task's end on ask, through its memory, of the rows (T, P) there."""
        ops, rows = self.parts.ops, self.ends[task]
        if not self.kept[task]:
            return ops.zeros_like(rows)
        return ops.vjp(lambda rows: self.parts.problem.memory(rows, self.supports[task]), rows, self.asked[task])
