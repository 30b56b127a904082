"""A base with slots at the sites of one adapter, on torch."""

from collections.abc import Sequence
from typing import cast

import torch

from ...core.engine import Engine
from ...core.sites import Site
from .. import adapted
from . import ops
from .model import Base
from .slots import Entry, Keys, Slot, control, release

WHOLE: dict[str, type[Slot]] = {"input": Entry, "cache": Keys}
"""Roles whose place is a whole block."""


class Adapted(adapted.AdaptedBase):
    """A base and its adapter on torch."""

    ops: Engine = ops
    base: Base

    def _place(self, site: Site) -> Slot:
        def apply(weights: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            changed: torch.Tensor = self.adapter.apply(ops, weights, x, y)
            return changed

        block = self.base.blocks[site.layer]
        return WHOLE[site.role](block, apply) if site.role in WHOLE else Slot(block.get_submodule(site.path), apply)

    def _remove(self, site: Site, slot: adapted.Slot) -> None:
        cast(Slot, slot).remove()

    def _control(self, count: int) -> None:
        for i, block in enumerate(self.base.blocks[:count]):
            control(block, self._frozen, i == 0, i == count - 1)

    def _release(self, count: int) -> None:
        for block in self.base.blocks[:count]:
            release(block)
