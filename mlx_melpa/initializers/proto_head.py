"""Proto-MAML: the linear head begins at the class prototypes, and inner steps train it with the other weights.

w_c = 2 mu_c,  b_c = -|mu_c|^2,  mu_c the mean feature of label c's support examples under the learned start:
the scores are then -|g - mu_c|^2, but for what all labels share, those of a prototypical network. The meta-gradient
goes through mu. A label without support examples gets 0.
"""

from ..core.engine import Engine
from ..core.protocols import Problem
from ..core.types import Array, Batch, Tree
from ..errors import RecipeError
from .universal import Universal

WRITTEN = ("readout.weight", "readout.bias")


class ProtoHead(Universal):
    """Rows that are one learned start, but for the linear head. Without a support set they are the start alone."""

    closed = True
    """The head is a closed form: a random start has it too."""

    def __init__(self, ops: Engine, problem: Problem):
        self.ops, self.problem, self.layout = ops, problem, problem.layout

    def make(self, theta: Tree, support: Batch, tasks: int) -> Array:
        """The start for each task (T, P), with the head of its support set (T tasks)."""
        rows = super().make(theta, support, tasks)
        if "onehot" not in support:
            return rows
        means = self.problem.class_means(rows, support, theta["problem"])
        written = dict(zip(WRITTEN, (2 * means, -(means * means).sum(-1)), strict=True))
        pieces = self.ops.split(rows, self.layout.offsets[1:-1], 1)
        return self.ops.concatenate(
            [
                written[segment.name].reshape(tasks, -1) if segment.name in written else piece
                for segment, piece in zip(self.layout.segments, pieces, strict=True)
            ],
            1,
        )


def proto_head(ops: Engine, problem: Problem) -> ProtoHead:
    """Builds the initializer (Triantafillou et al. 2020); raises RecipeError where there is no linear head.

    Use it when the readout is `linear`: a head of zeros learns slowly from a few examples.
    Not when the readout is another one: it has no head to write.
    """
    if not {*WRITTEN} <= {segment.name for segment in problem.layout.segments}:
        raise RecipeError("initializer proto_head writes the weights of a linear head; set readout: linear")
    return ProtoHead(ops, problem)
