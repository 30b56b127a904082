"""A kind of one's own for each folder."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlx_melpa.core import bases, protocols
from mlx_melpa.core.layout import Segment
from mlx_melpa.core.sites import Site
from mlx_melpa.core.types import Array, Splits, Tree
from mlx_melpa.initializers.universal import Universal
from mlx_melpa.learners.maml import Maml
from mlx_melpa.problems.regression import Regression
from mlx_melpa.readouts.linear import Linear
from mlx_melpa.readouts.prototypes import FeatureSettings
from mlx_melpa.tasks.sinusoid import SinusoidTasks


class Shift(bases.Adapter):
    """y + b at every linear layer."""

    kind = "dummy"
    verify_with = ({},)

    def choose(self, sites: Any) -> list[Site]:
        return [site for site in sites if site.role == "linear"]

    def segments(self, site: Site) -> tuple[Segment, ...]:
        return (Segment(f"{site.name}.shift", (site.width_out,), scaled=True),)

    def apply(self, ops: Any, weights: Any, x: Array, y: Array) -> Array:
        (shift,) = weights
        return (y.reshape(shift.shape[0], -1, y.shape[-1]) + shift.reshape(shift.shape[0], 1, -1)).reshape(y.shape)

    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        return ()


class Halved(protocols.Rule):
    """Half a step of gradient descent."""

    verify_with = ({},)

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        return rows - 0.05 * grads, memory


class Pull(protocols.Regularizer):
    """A pull to the start."""

    verify_with = ({},)

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Any) -> Array:
        return ((rows - carry["start"]) ** 2).sum(-1)


class First(protocols.Sampler):
    """The first draws."""

    def next(self, tasks: Any, seed: int, iteration: int, count: int, *_: Any) -> list[Any]:
        return [tasks.episode(np.random.default_rng([seed, iteration, i])) for i in range(count)]


def shift() -> Shift:
    """Builds the dummy."""
    return Shift()


def halved(ops: Any, layout: Any) -> Halved:
    """Builds the dummy."""
    return Halved()


def pull(ops: Any) -> Pull:
    """Builds the dummy."""
    return Pull()


def first() -> First:
    """Builds the dummy."""
    return First()


def universal(ops: Any, problem: Any = None) -> Universal:
    """Builds the dummy."""
    return Universal(ops)


def head(ops: Any, tokenizer: Any, *, ways: int = 5, features: FeatureSettings = FeatureSettings()) -> Linear:  # noqa: B008
    """Builds the dummy."""
    return Linear(ops, tokenizer, ways, features)


def network(ops: Any, *, hidden: int = 4) -> Regression:
    """Builds the dummy."""
    return Regression(ops, [hidden], "tanh")


def exact(parts: Any, *, steps: int = 2) -> Maml:
    """Builds the dummy."""
    return Maml(parts, steps)


def curves(*, shots: int = 2) -> Splits:
    """Builds the dummy."""
    tasks = SinusoidTasks(shots=shots, queries=2, spread=0.0)
    return Splits(tasks, tasks, tasks)


ANSWERING: dict[str, Callable[..., Any]] = {
    "adapter": shift,
    "tasks": curves,
    "problem": network,
    "readout": head,
    "initializer": universal,
    "rule": halved,
    "regularizer": pull,
    "sampler": first,
    "learner": exact,
}
