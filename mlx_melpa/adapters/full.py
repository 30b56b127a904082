"""Full fine-tuning: y + x D beside a frozen linear layer, with D as large as the layer's own weight."""

from collections.abc import Sequence

from ..core.bases import Adapter
from ..core.bounds import Count
from ..core.engine import Engine
from ..core.layout import Segment
from ..core.sites import Site, select
from ..core.types import Array
from ..errors import ModelError


class Full(Adapter):
    """A change D (T, d, o) of each linear layer's weight, at zero; biases, norms and embeddings stay the base's."""

    kind = "full"
    verify_with = ({},)

    def __init__(self, sites: Sequence[str], layers: str | int | Sequence[int], budget: int):
        self.sites, self.layers, self.budget = tuple(sites), layers, budget

    def choose(self, sites: Sequence[Site]) -> list[Site]:
        """Selects the linear layers; raises ModelError where their weights are more than the budget."""
        chosen = select(sites, self.sites, self.layers, ("linear",))
        size = sum(site.width_in * site.width_out for site in chosen)
        if size > self.budget:
            raise ModelError(
                f"adapter full has {size:,} numbers at {len(chosen)} sites, above adapter.budget: {self.budget:,}; "
                "name fewer adapter.sites or layers, take lora, or raise the budget (a pass holds it per task)"
            )
        return chosen

    def segments(self, site: Site) -> tuple[Segment, ...]:
        """The weight at one site: d o numbers."""
        return (Segment(f"{site.name}.delta", (site.width_in, site.width_out), scaled=True),)

    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        """x D."""
        return ((site.width_in, site.width_out),)

    def apply(self, ops: Engine, weights: Sequence[Array], x: Array, y: Array) -> Array:
        """Adds the update to the layer's output y (T*B, L, o), given its input x (T*B, L, d)."""
        (delta,) = weights
        return y + ops.cast((ops.cast(x, delta).reshape(delta.shape[0], -1, x.shape[-1]) @ delta).reshape(y.shape), y)


def full(
    *,
    sites: list[str] = ["*"],  # noqa: B006
    layers: str | int | list[int] = "all",
    budget: Count = 20_000_000,
) -> Full:
    """Builds full fine-tuning of the linear layers that `sites` name, on a base small enough for it.

    A random start changes nothing, and there is only one.

    Use it when it is the upper bound that an adapter is compared with.
    Not when users are many or the base is large: a user stores as many numbers as the layers have.

    budget: the largest number of numbers that a row may have.
    Other settings: as `lora`.
    """
    return Full(sites, layers, budget)
