"""Bottleneck adapters: h + f(h D) U after a sub-block."""

from collections.abc import Sequence
from typing import Annotated, Literal

from ..core.bases import Adapter
from ..core.bounds import Bounds
from ..core.engine import Engine
from ..core.layout import Segment
from ..core.sites import Site, select
from ..core.types import Array

ROLES = {"houlsby": ("attention", "feed_forward"), "pfeiffer": ("feed_forward",)}


class Bottleneck(Adapter):
    """A two-layer adapter of a sub-block's output; D (T, d, w) starts random, U (T, w, d) at zero, with biases."""

    kind = "bottleneck"
    verify_with = ({"width": 3, "placement": "houlsby"},)

    def __init__(self, width: int, placement: str, activation: str, layers: str | int | Sequence[int]):
        self.width, self.placement, self.activation, self.layers = width, placement, activation, layers

    def choose(self, sites: Sequence[Site]) -> list[Site]:
        """Selects the sub-blocks; raises ModelError where the base has none."""
        return select(sites, ["*"], self.layers, ROLES[self.placement])

    def segments(self, site: Site) -> tuple[Segment, ...]:
        """The weights at one site: 2 d w + w + d numbers."""
        d, w = site.width_out, self.width
        name = site.name
        return (
            Segment(f"{name}.down", (d, w), d**-0.5),
            Segment(f"{name}.down_bias", (w,)),
            Segment(f"{name}.up", (w, d), scaled=True),
            Segment(f"{name}.up_bias", (d,), scaled=True),
        )

    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        """h D, then U."""
        return ((site.width_out, self.width), (self.width, site.width_out))

    def apply(self, ops: Engine, weights: Sequence[Array], x: Array, y: Array) -> Array:
        """Adds the update to the sub-block's output y (T*B, L, d)."""
        down, down_bias, up, up_bias = weights
        tasks = down.shape[0]
        h = ops.cast(y, down).reshape(tasks, -1, y.shape[-1])
        inner = h @ down + down_bias.reshape(tasks, 1, -1)
        inner = ops.relu(inner) if self.activation == "relu" else ops.silu(inner)
        return y + ops.cast((inner @ up + up_bias.reshape(tasks, 1, -1)).reshape(y.shape), y)


def bottleneck(
    *,
    width: Annotated[int, Bounds(1, 1024)] = 16,
    placement: Literal["houlsby", "pfeiffer"] = "pfeiffer",
    activation: Literal["silu", "relu"] = "silu",
    layers: str | int | list[int] = "all",
) -> Bottleneck:
    """Builds bottleneck adapters of a width, after attention and feed-forward (Houlsby et al. 2019) or after
    feed-forward alone (Pfeiffer et al. 2020).

    Use it when a published method has them (MeLPA, GB-MOA), or where the layers inside a block can't be adapted.
    Not when mlx-lm or PEFT should load the export: neither has this adapter.

    width: the inner width m; a place has about 2 m d numbers.
    placement: pfeiffer after feed-forward, houlsby after attention too.
    activation: the function between the two products; silu is smooth, as second derivatives want it.
    Other settings: as `lora`.
    """
    return Bottleneck(width, placement, activation, layers)
