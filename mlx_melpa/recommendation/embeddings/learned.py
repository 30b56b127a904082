"""The learned task embedding: the output of a hypernetwork's task encoder."""

from typing import cast

import numpy as np

from ...config.build import Setup
from ...core.types import Episode, Tree
from ...initializers.hypernetwork import Hypernetwork


def learned(setup: Setup, episode: Episode, theta: Tree | None = None) -> np.ndarray:
    """The embedding (e,) of the initializer's input: the support set, the description, or both.

    theta: a random start by default. The initializer must be a hypernetwork (see `encodes`).
    """
    parts, made = setup.parts, cast(Hypernetwork, setup.parts.initializer)
    support = parts.problem.support([episode])
    theta = setup.begin(0) if theta is None else theta
    found = made.encoder.embed(theta["initializer"]["encoder"], support["context"], support["present"])
    vector: np.ndarray = parts.ops.numpy(found)[0]
    return vector


def encodes(setup: Setup) -> bool:
    """True if the initializer has a task encoder."""
    return isinstance(setup.parts.initializer, Hypernetwork)
