"""Prefix tuning: learned keys and values that every attention reads before those of the text."""

from collections.abc import Sequence
from typing import Annotated

from ..core.bases import Adapter
from ..core.bounds import Bounds, Positive
from ..core.engine import Engine
from ..core.layout import Segment
from ..core.sites import Site, select
from ..core.types import Array
from ..errors import ModelError


class Prefix(Adapter):
    """Keys (T, d, m) and values (T, e, m) of m tokens before the text, for each block; d, e over all key heads.

    They enter after norm and rotation. So they have no position, and the text keeps its own from 0. Every query sees
    them, whatever the attention window. A random start has random keys and values of zero. It is not the base, because
    the prefix takes a part of the attention; what is reported as "the base" is the base behind that prefix.
    """

    kind = "prefix"
    verify_with = ({"length": 2},)

    def __init__(self, length: int, spread: float, layers: str | int | Sequence[int]):
        self.length, self.spread, self.layers = length, spread, layers

    @property
    def keys(self) -> int:
        """The prefix's length."""
        return self.length

    def choose(self, sites: Sequence[Site]) -> list[Site]:
        """Selects the blocks with keys and values; raises ModelError where there are none."""
        found = [site for site in sites if site.role == "cache"]
        if all(site.refused for site in found):
            raise ModelError(f"adapter prefix: {found[0].refused}")
        return select(sites, ["*"], self.layers, ("cache",))

    def segments(self, site: Site) -> tuple[Segment, ...]:
        """The weights of one block: m (d + e) numbers."""
        m, name = self.length, site.name
        return (
            Segment(f"{name}.keys", (site.width_in, m), self.spread),
            Segment(f"{name}.values", (site.width_out, m)),
        )

    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        """Nothing: keys and values are read as they are."""
        return ()

    def apply(self, ops: Engine, weights: Sequence[Array], x: Array, y: Array) -> tuple[Array, Array]:
        """Puts the weights before keys x (T*B, H, L, d/H) and values y (T*B, H, L, e/H)."""
        keys, values = weights
        return _before(ops, keys, x), _before(ops, values, y)


def _before(ops: Engine, learned: Array, own: Array) -> Array:
    tasks, wide, length = learned.shape
    count, heads, _, each = own.shape
    # an engine may have repeated each of its key heads for the query heads that share it
    shared = wide // each
    put = ops.swap(learned.reshape(tasks, 1, shared, 1, each, length))
    put = ops.broadcast(put, (tasks, count // tasks, shared, heads // shared, length, each))
    return ops.concatenate([ops.cast(put.reshape(count, heads, length, each), own), own], 2)


def prefix(
    *,
    length: Annotated[int, Bounds(1, 1024)] = 10,
    spread: Positive = 0.5,
    layers: str | int | list[int] = "all",
) -> Prefix:
    """Builds prefix tuning with `length` virtual tokens before each attention (Li and Liang 2021).

    The keys are drawn at first from [-spread, spread], the values are zero. The paper's reparametrization by a network
    is left out: the start is meta-learned instead.

    Use it when few numbers should act on every block, without a product beside each layer.
    Not when the start should equal the base: attention reads a random prefix too.

    length: virtual tokens of each attention.
    spread: half the width of the uniform distribution of the keys of a random start.
    layers: blocks that are adapted: all, a number N for the last N, or a list of block numbers.
    """
    return Prefix(length, spread, layers)
