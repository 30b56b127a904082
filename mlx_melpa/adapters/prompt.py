"""Prompt tuning: soft vectors that stand before the text, where the first block reads it."""

from collections.abc import Sequence
from typing import Annotated

from ..core.bases import Adapter
from ..core.bounds import Bounds, Positive
from ..core.engine import Engine
from ..core.layout import Segment
from ..core.sites import Site
from ..core.types import Array
from ..errors import ModelError


class Prompt(Adapter):
    """Vectors (T, m, d) at the first m of the first block's inputs; the text follows them.

    A random start is not the base, because the text attends to the vectors. What is reported as "the base" is therefore
    the base behind random vectors.
    """

    kind = "prompt"
    verify_with = ({"tokens": 2},)

    def __init__(self, tokens: int, spread: float):
        self.tokens, self.spread = tokens, spread

    def choose(self, sites: Sequence[Site]) -> list[Site]:
        """Selects the base's input; raises ModelError where it has no single one."""
        found = [site for site in sites if site.role == "input"]
        if not found or found[0].refused:
            raise ModelError(f"adapter prompt: {found[0].refused if found else 'this base has no input to write to'}")
        return found

    def segments(self, site: Site) -> tuple[Segment, ...]:
        """The vectors: m d numbers."""
        return (Segment(f"{site.name}.prompt", (self.tokens, site.width_in), self.spread),)

    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        """Nothing: the vectors are read as they are."""
        return ()

    def apply(self, ops: Engine, weights: Sequence[Array], x: Array, y: Array) -> Array:
        """Puts the vectors in the place of the first m inputs (T*B, m + L, d)."""
        (prompt,) = weights
        tasks, length, wide = prompt.shape
        alike = ops.broadcast(prompt.reshape(tasks, 1, length, wide), (tasks, x.shape[0] // tasks, length, wide))
        text = ops.split(x, [self.tokens], 1)[1]
        return ops.concatenate([ops.cast(alike.reshape(-1, length, wide), x), text], 1)


def prompt(*, tokens: Annotated[int, Bounds(1, 1024)] = 20, spread: Positive = 0.5) -> Prompt:
    """Builds prompt tuning with `tokens` vectors, drawn at first from [-spread, spread] (Lester et al. 2021).

    Use it when a user should own very few numbers, tokens x width, and the base is large.
    Not when the base is small, or speed counts: no frozen block can be cached, and each text is longer by `tokens`.

    tokens: the number of vectors before the text.
    spread: half the width of the uniform distribution of a random start.
    """
    return Prompt(tokens, spread)
