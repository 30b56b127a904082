"""LoRA: y + scale (x A) B beside a frozen linear layer."""

from collections.abc import Sequence
from typing import Annotated

from ..core.bases import Adapter
from ..core.bounds import Bounds, Positive
from ..core.engine import Engine
from ..core.layout import Segment
from ..core.sites import Site, select
from ..core.types import Array


class Lora(Adapter):
    """A low-rank adapter of linear layers; A (T, d, r) starts random, B (T, r, o) at zero."""

    kind = "lora"
    verify_with = ({"rank": 2},)
    rank: int

    def __init__(self, rank: int, scale: float, sites: Sequence[str], layers: str | int | Sequence[int]):
        self.rank, self.scale, self.sites, self.layers = rank, scale, tuple(sites), layers

    def choose(self, sites: Sequence[Site]) -> list[Site]:
        """Selects the linear layers; raises ModelError where a pattern names none."""
        return select(sites, self.sites, self.layers, ("linear",))

    def segments(self, site: Site) -> tuple[Segment, ...]:
        """The weights at one site: r (d + o) numbers."""
        d, o, r = site.width_in, site.width_out, self.rank
        return (Segment(f"{site.name}.lora_a", (d, r), d**-0.5), Segment(f"{site.name}.lora_b", (r, o), scaled=True))

    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        """x A, then B."""
        return ((site.width_in, self.rank), (self.rank, site.width_out))

    def apply(self, ops: Engine, weights: Sequence[Array], x: Array, y: Array) -> Array:
        """Adds the update to the layer's output y (T*B, L, o), given its input x (T*B, L, d)."""
        a, b = weights
        inner = ops.cast(x, a).reshape(a.shape[0], -1, x.shape[-1]) @ a
        return y + ops.cast(((self.scale * inner) @ b).reshape(y.shape), y)


def lora(
    *,
    rank: Annotated[int, Bounds(1, 256)] = 8,
    scale: Positive = 2.0,
    sites: list[str] = ["*"],  # noqa: B006
    layers: str | int | list[int] = "all",
) -> Lora:
    """Builds LoRA of a rank at the linear layers that `sites` name (Hu et al. 2021).

    Use it when nothing speaks against it: most recipes do, and mlx-lm and PEFT load its exports.
    Not when a user may own a few hundred bytes only: add initializer `subspace`, or take `prompt`.

    rank: the inner width r; a site has r (d_in + d_out) numbers.
    scale: factor of the update, what others call alpha / rank.
    sites: patterns of layer names, such as q_proj or "*.mlp.*"; "*" is every linear layer.
    layers: blocks that are adapted: all, a number N for the last N, or a list of block numbers.
    """
    return Lora(rank, scale, sites, layers)
