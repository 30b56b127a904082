"""The learned task embedding: what a hypernetwork's own encoder makes of a task before it writes a row."""

from typing import Any, cast

import numpy as np

from ...config.build import Composition
from ...core.types import Tree
from ...initializers.hypernetwork import Hypernetwork


def learned(composed: Composition, episode: Any, theta: Tree | None = None) -> np.ndarray:
    """E (e,) of what the initializer reads: the support set, the description, or both.

    It is E's under `theta`, or as E begins where none is given.
    The initializer has to be a hypernetwork (see `encodes`).
    """
    parts, made = composed.parts, cast(Hypernetwork, composed.parts.initializer)
    support = parts.problem.support([episode])
    theta = composed.begin(0) if theta is None else theta
    found = made.encoder.embed(theta["initializer"]["encoder"], support["context"], support["present"])
    vector: np.ndarray = parts.ops.numpy(found)[0]
    return vector


def encodes(composed: Composition) -> bool:
    """Says whether the initializer has a task encoder."""
    return isinstance(composed.parts.initializer, Hypernetwork)
