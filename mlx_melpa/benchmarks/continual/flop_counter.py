"""Counts the matrix products of learning a task while it is learned."""

from ...config.build import Setup
from ...core.bases import Adapter
from ...core.types import Batch, Json
from ...evaluation.flops import COUNTED, Work, flops, names, products


class FlopCounter:
    """Adds up the floating-point operations of passes over batches.

    Blocks below the first adapted one are left out: they run once per text. See `evaluation/flops.py`.
    """

    def __init__(self, config: Json, adapter: Adapter, sites: frozenset[str]):
        self.config, self.adapter, self.sites, self.total = config, adapter, sites, 0

    def add(self, batch: Batch, backward: bool) -> None:
        """Adds a forward pass over a batch; with `backward` also the backward pass to the row."""
        for part in batch["parts"]:
            sequences, length = part["tokens"].shape
            read = part["index"].shape[0] if "index" in part else 0
            made = products(self.config, Work(sequences, length, read, self.adapter, self.sites))
            self.total += flops(product for product in made if backward or not product.name.endswith("back"))


def flop_counter(setup: Setup) -> FlopCounter | None:
    """A counter for a base of llama's kind; None for others, whose products are not known."""
    if setup.base.config.get("model_type") not in COUNTED:
        return None
    return FlopCounter(setup.base.config, setup.model.adapter, names(setup.model.sites))
