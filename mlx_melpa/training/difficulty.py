"""How hard episodes are before adaptation: what a curriculum sorts by."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import inner_loop as adapt
from ..core.protocols import Parts
from ..core.types import Tree


def difficulty(parts: Parts, theta: Tree, episodes: Sequence[Any], by: str) -> np.ndarray:
    """The entropy or the loss (T,), nats, of the support sets at the start of their adaptation.

    A problem that predicts numbers has no entropy: there it is the loss, by either name. A stream is as hard as its
    tasks are on the average. Forward passes alone.
    """
    if isinstance(episodes[0], tuple):
        return np.mean([difficulty(parts, theta, place, by) for place in zip(*episodes, strict=True)], axis=0)
    problem = parts.problem
    support = problem.support(episodes)
    rows = adapt.begin(parts, theta, support)["rows"]
    found = problem.entropies(rows, support) if by == "entropy" else problem.losses(rows, support)
    return parts.ops.numpy(found).astype(np.float64)
