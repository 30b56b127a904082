"""MAML++: losses after every step early in meta-training, and first order before second.

loss = sum over k = 1 ... K of  w_k query loss after k steps
w_k = (1 - a) / K for k < K, the rest at K;   a rises from 0 to 1 over the share `multi_step` of meta-training

The paper's other parts are parts here too: learned rates per weight and step are `rule: lslr`, the cosine outer rate is
`train.schedule: cosine`; batch normalization's have no place, since the base has none to adapt.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from ..core.bounds import Bounds, Share
from ..core.protocols import Components, Learner
from ..core.types import Array, Batch, Tree
from .backward import QueryTerm, Stage, backward, exact, first_order
from .definitions import unrolled


class MamlPlusPlus(Learner):
    """MAML's reverse pass at a share `progress` of meta-training; at its end, where it is built, it is MAML's own."""

    exact_gradient = True
    verify_with = ({"multi_step": 1.0, "first_order": 0.0},)

    def __init__(self, parts: Components, steps: int, multi_step: float, first_order: float, progress: float = 1.0):
        self.parts, self.steps = parts, steps
        self.multi_step, self.first_order, self.progress = multi_step, first_order, progress
        if first_order == 1:
            self.trains -= {"regularizer"}

    def at(self, progress: float) -> "MamlPlusPlus":
        """The learner where meta-training has come to a share of its iterations, in [0, 1]."""
        return MamlPlusPlus(self.parts, self.steps, self.multi_step, self.first_order, progress)

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the query loss after 0 ... K steps; they sum to 1."""
        annealed = min(1.0, self.progress / self.multi_step) if self.multi_step else 1.0
        early = (1 - annealed) / self.steps
        return (0.0, *([early] * (self.steps - 1)), 1 - (self.steps - 1) * early)

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Weighted query losses (T,) and the gradient of their sum."""
        first = self.progress < self.first_order or self.first_order == 1
        reverse = (first_order if first else exact)(self.parts, theta)
        return backward(self.parts, theta, [self._stage(support, query)], reverse)

    def definition(self, theta: Tree, support: Batch, query: Batch) -> Callable[[Tree], Array]:
        """The weighted losses of the unrolled loop."""
        return partial(unrolled, self.parts, [self._stage(support, query)])

    def _stage(self, support: Batch, query: Batch) -> Stage:
        return Stage(support, [[QueryTerm(weight, query)] for weight in self.weights])


def maml_plus_plus(
    parts: Components, *, steps: Annotated[int, Bounds(1, 1000)] = 5, multi_step: Share = 0.1, first_order: Share = 0.3
) -> MamlPlusPlus:
    """Builds MAML++ over `steps` inner steps (Antoniou, Edwards, Storkey 2019).

    Use it when `maml` is unsettled at the beginning, or users may stop after fewer steps. Pair it with rule `lslr`.
    Not when a step or two is all there is.

    steps: inner steps of an episode.
    multi_step: share of meta-training over which the losses' weights move from equal to the last step alone.
    first_order: share of meta-training, from the beginning, without second derivatives.
    """
    return MamlPlusPlus(parts, steps, multi_step, first_order)
