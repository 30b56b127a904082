"""A base with slots at the sites of one adapter, on MLX."""

from typing import Any

from ...core.engine import Engine
from ...core.sites import Site
from .. import adapted
from . import ops
from .model import Base
from .slots import Block, Entry, Keys, Slot

WHOLE: dict[str, type[Slot]] = {"input": Entry, "cache": Keys}
"""Roles whose place is a whole block."""


class Adapted(adapted.AdaptedBase):
    """A base and its adapter on MLX."""

    ops: Engine = ops
    base: Base

    def _owner(self, site: Site) -> tuple[Any, Any]:
        """The list or module that holds a site's module, and the key there."""
        blocks = self.base.blocks
        if site.role in WHOLE:
            return blocks, site.layer
        *parents, key = site.path.split(".")
        owner: Any = blocks[site.layer]
        for name in parents:
            owner = owner[int(name)] if isinstance(owner, list) else owner[name]
        return owner, key

    def _place(self, site: Site) -> Slot:
        owner, key = self._owner(site)
        slot = WHOLE.get(site.role, Slot)(owner[key], lambda weights, x, y: self.adapter.apply(ops, weights, x, y))
        owner[key] = slot
        return slot

    def _remove(self, site: Site, slot: adapted.Slot) -> None:
        owner, key = self._owner(site)
        if owner[key] is slot:
            owner[key] = owner[key]["base"]

    def _control(self, count: int) -> None:
        blocks = self.base.blocks
        blocks[:count] = [Block(blocks[i], self._frozen, i == 0, i == count - 1) for i in range(count)]

    def _release(self, count: int) -> None:
        blocks = self.base.blocks
        blocks[:count] = [block["base"] for block in blocks[:count]]
