"""A base with slots at the sites of one adapter, on MLX."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ...core.sites import Site
from ..adapted import AdaptedBase
from . import ops
from .slots import Block, Entry, Frozen, Keys, Slot

WHOLE: dict[str, type[Slot]] = {"input": Entry, "cache": Keys}
"""Roles whose place is a whole block."""


class Adapted(AdaptedBase):
    """A base and its adapter on MLX."""

    _ops = ops

    def _occupied(self) -> bool:
        return any(isinstance(module, (Slot, Block)) for block in self.base.blocks for module in block.modules())

    def _place(self, site: Site) -> Slot:
        return _place(self.base.blocks, site, self.adapter)

    def _new_frozen(self) -> Frozen:
        return Frozen()

    def _freeze(self, count: int) -> int:
        blocks = self.base.blocks
        originals = blocks[:count]
        for i in range(count):
            blocks[i] = Block(blocks[i], self._frozen, i == 0, i == count - 1)
        if count and not self._prefix_works(count):
            blocks[:count] = originals
            return 0
        return count

    def opened(self, tokens: mx.array) -> mx.array:
        """Tokens (R, m + L) with places for the m vectors of a prompt; the same where the adapter has none."""
        return mx.pad(tokens, [(0, 0), (self._before, 0)]) if self._before else tokens

    def _prefix_works(self, count: int) -> bool:
        tokens = mx.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
        whole = self.base.hidden(tokens)
        try:
            self._frozen.mode, self._frozen.calls = "keep", 0
            self.base.hidden(tokens)
            kept = self._frozen.hidden
            if self._frozen.calls != 1 or not isinstance(kept, mx.array) or kept.ndim != 3:
                return False
            self._frozen.mode, self._frozen.calls = "reuse", 0
            again = self.base.hidden(tokens)
            return self._frozen.calls == count and bool(mx.array_equal(whole, again).item())
        finally:
            self._frozen.mode, self._frozen.first, self._frozen.hidden = "run", None, None

    def detach(self) -> None:
        """Takes the slots out again and leaves the base as it was loaded."""
        blocks = self.base.blocks
        for i, block in enumerate(blocks):
            if isinstance(block, Block):
                blocks[i] = block["base"]
        for site, slot in zip(self.sites, self._slots, strict=True):
            owner, key = _owner(blocks, site)
            if owner[key] is slot:
                owner[key] = slot["base"]


def _owner(blocks: Sequence[nn.Module], site: Site) -> tuple[Any, Any]:
    if site.role in WHOLE:
        return blocks, site.layer
    *parents, key = site.path.split(".")
    owner: Any = blocks[site.layer]
    for name in parents:
        owner = owner[int(name)] if isinstance(owner, list) else owner[name]
    return owner, key


def _place(blocks: Sequence[nn.Module], site: Site, adapter: Any) -> Slot:
    owner, key = _owner(blocks, site)
    slot = WHOLE.get(site.role, Slot)(owner[key], lambda weights, x, y: adapter.apply(ops, weights, x, y))
    owner[key] = slot
    return slot
