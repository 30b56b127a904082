"""The matrix products of learning a task, counted while it is learned"""

from dataclasses import replace
from typing import Any

from ...config.build import Composition
from ...core.types import Array, Batch
from ...evaluation.flops import COUNTED, Work, flops, names, products


class Counted:
    """A problem that adds up the products of whatever is asked of it; everything else is the problem's own.

    A loss counts forward and back, as its gradient is taken; an answer or class means count forward alone. See
    `flops.py` for what is left out: blocks below the first adapter, which run once for each text.
    """

    def __init__(self, problem: Any, composed: Composition):
        self.problem, self.config, self.flops = problem, composed.base.config, 0
        self.adapter, self.sites = composed.model.adapter, names(composed.model.sites)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.problem, name)

    def count(self, batch: Batch, back: bool) -> None:
        """Adds the products of a batch."""
        for part in batch["parts"]:
            sequences, length = part["tokens"].shape
            read = part["index"].shape[0] if "index" in part else 0
            made = products(self.config, Work(sequences, length, read, self.adapter, self.sites))
            self.flops += flops(product for product in made if back or not product.name.endswith("back"))

    def losses(self, rows: Array, batch: Batch) -> Array:
        """Per-task losses (T,)."""
        self.count(batch, True)
        return self.problem.losses(rows, batch)

    def predict(self, rows: Array, batch: Batch) -> Array:
        """Probabilities of the labels."""
        self.count(batch, False)
        return self.problem.predict(rows, batch)

    def memory(self, rows: Array, support: Batch) -> Batch:
        """What a readout keeps of a support batch."""
        self.count(support, False)
        kept: Batch = self.problem.memory(rows, support)
        return kept


def counted(composed: Composition) -> Composition:
    """The same with its products counted, where these are known: on a base of llama's kind."""
    if composed.base.config.get("model_type") not in COUNTED:
        return composed
    parts = composed.parts
    problem: Any = Counted(parts.problem, composed)
    return replace(composed, parts=replace(parts, problem=problem))
