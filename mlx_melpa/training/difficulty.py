"""Difficulty of episodes before adaptation, by which a curriculum sorts them."""

from collections.abc import Sequence

import numpy as np

from ..core import inner_loop
from ..core.protocols import Components
from ..core.types import AnyEpisode, Tree


def difficulty(parts: Components, theta: Tree, episodes: Sequence[AnyEpisode], by: str) -> np.ndarray:
    """The entropy or the loss (T,) of the support sets at the initial rows, in nats.

    A problem that predicts numbers has no entropy: its difficulty is the loss, by either name. The difficulty of a
    stream is the mean over its tasks. Takes forward passes only.
    """
    if isinstance(episodes[0], tuple):
        return np.mean([difficulty(parts, theta, place, by) for place in zip(*episodes, strict=True)], axis=0)
    problem = parts.problem
    support = problem.support(episodes)
    rows = inner_loop.begin(parts, theta, support)["rows"]
    values = (problem.entropies if by == "entropy" else problem.losses)(rows, support, theta["problem"])
    return parts.ops.numpy(values).astype(np.float64)
