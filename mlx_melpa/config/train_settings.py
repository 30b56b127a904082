"""The settings of meta-training: the recipe's key `train`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ..core.bounds import Bounds, Count, Natural, Positive
from .schema import Kinds
from .yaml_document import Value

Decay = Annotated[float, Bounds(0, 0.99999)]


def adam(*, lr: Positive = 1e-3, betas: tuple[Decay, Decay] = (0.9, 0.999)) -> dict[str, Value]:
    """Adam with its bias corrected (Kingma and Ba, 2015).

    Use it when nothing speaks against it.
    Not when weights should be kept small: take `adamw`.

    lr: the outer rate.
    betas: decay of the first and of the second moment, an iteration.
    """
    return {"kind": "adam", "lr": lr, "betas": list(betas)}


def adamw(
    *, lr: Positive = 1e-3, betas: tuple[Decay, Decay] = (0.9, 0.999), weight_decay: Annotated[float, Bounds(0)] = 0.01
) -> dict[str, Value]:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Use it when a hypernetwork or a learned optimizer is trained on few tasks.
    Not when only a start is trained: decay pulls it to 0, the base.

    weight_decay: share of each number that is taken off an iteration, times the rate.
    Other settings: as `adam`.
    """
    return {"kind": "adamw", "lr": lr, "betas": list(betas), "weight_decay": weight_decay}


def sgd(
    *, lr: Positive = 0.01, momentum: Decay = 0.0, weight_decay: Annotated[float, Bounds(0)] = 0.0
) -> dict[str, Value]:
    """Stochastic gradient descent with momentum.

    Use it when a published method has it, as Reptile.
    Not when parts of theta have gradients of different size: take `adam`.

    lr: the outer rate.
    momentum: share of the last update that is added to the next.
    weight_decay: factor of each number that is added to its gradient.
    """
    return {"kind": "sgd", "lr": lr, "momentum": momentum, "weight_decay": weight_decay}


OPTIMIZERS = {"adam": adam, "adamw": adamw, "sgd": sgd}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The settings of meta-training.

    iterations: outer steps.
    tasks_per_step: episodes whose gradients make one outer step.
    stream: tasks that follow one another in an episode; each is learned from where the one before ended.
    tasks_per_pass: episodes in one forward pass of the model; null for as many as memory holds.
    optimizer: the outer optimizer, a kind with its settings.
    schedule: the rate after the warm-up: constant, or down to 0 by a half cosine.
    warmup: iterations over which the rate rises from 0.
    clip: the largest Euclidean norm of an outer gradient; null for no limit.
    validate_every, checkpoint_every: iterations between two validations, and between two checkpoints.
    validation_episodes: episodes of a validation.
    seed: seed of tasks, episodes and starts.
    """

    iterations: Count = 500
    tasks_per_step: Count = 4
    stream: Count = 1
    tasks_per_pass: Count | None = None
    optimizer: Annotated[dict[str, Value], Kinds(OPTIMIZERS)] = field(default_factory=adam)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Natural = 0
    clip: Positive | None = 1.0
    validate_every: Count = 25
    validation_episodes: Count = 20
    checkpoint_every: Count = 25
    seed: Natural = 0
