"""A base with slots at the sites of one adapter: hidden states and logits as functions of rows."""

from typing import Any

import torch

from ...core.sites import Site
from ..adapted import AdaptedBase
from . import ops
from .slots import Entry, Frozen, Keys, Slot

WHOLE: dict[str, type[Slot]] = {"input": Entry, "cache": Keys}
"""Roles whose place is a whole block."""


class Adapted(AdaptedBase):
    """A base and its adapter on torch."""

    _ops = ops

    def _occupied(self) -> bool:
        return bool(getattr(self.base.model, "melpa_adapted", False))

    def _new_frozen(self) -> Frozen:
        return Frozen()

    def opened(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (R, m + L) with places for the m vectors of a prompt; the same where the adapter has none."""
        return torch.nn.functional.pad(tokens, (self._before, 0)) if self._before else tokens

    def _place(self, site: Site) -> Slot:
        self.base.model.melpa_adapted = True
        block = self.base.blocks[site.layer]
        if site.role in WHOLE:
            return WHOLE[site.role](block, self._apply)
        return Slot(block.get_submodule(site.path), self._apply)

    def _apply(self, weights: Any, x: torch.Tensor, y: torch.Tensor) -> Any:
        return self.adapter.apply(ops, weights, x, y)

    def _freeze(self, count: int) -> int:
        """Puts blocks below the first site under control, and keeps that only where it is proven bit-equal.

        An encoder-decoder cuts its input anew for every reading, so nothing of it can be kept.
        """
        if self.base.kind == "encoder-decoder":
            return 0
        below = self.base.blocks[:count]
        for i, block in enumerate(below):
            self._frozen.hold(block, i == 0, i == count - 1)
        if count and not self._prefix_works(count):
            for block in below:
                self._frozen.release(block)
            return 0
        return count

    def _prefix_works(self, count: int) -> bool:
        tokens = torch.tensor([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]], device=ops.device)
        frozen = self._frozen
        whole = self.base.hidden(tokens)
        try:
            frozen.mode, frozen.calls = "keep", 0
            self.base.hidden(tokens)
            if frozen.calls != 1 or not isinstance(frozen.hidden, torch.Tensor) or frozen.hidden.ndim != 3:
                return False
            frozen.mode, frozen.calls = "reuse", 0
            again = self.base.hidden(tokens)
            return frozen.calls == count and torch.equal(whole, again)
        finally:
            frozen.mode, frozen.first, frozen.hidden = "run", None, None

    def detach(self) -> None:
        """Takes the slots off again and leaves the base as it was loaded."""
        for slot in self._slots:
            slot.remove()
        for block in self.base.blocks[: self.frozen_blocks]:
            self._frozen.release(block)
        self.base.model.melpa_adapted = False
        self.frozen_blocks = 0
