"""A base with slots at the sites of one adapter: hidden states and logits as functions of rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ...core.layout import Layout
from ...core.sites import Site
from ...errors import ModelError
from . import ops
from .model import Base
from .slots import Entry, Frozen, Keys, Slot

WHOLE: dict[str, type[Slot]] = {"input": Entry, "cache": Keys}
"""Roles whose place is a whole block."""


class Adapted:
    """A base and its adapter, one at a time; raises ModelError for a second.

    `layout` maps a row's numbers; `frozen_blocks` is how many blocks lie below the first site and run once per batch.
    All functions take rows (T, P) and tokens (T*B, L), and are pure: nothing stays bound after a call.
    """

    def __init__(self, base: Base, adapter: Any):
        self.base, self.adapter = base, adapter
        self.sites = adapter.choose(base.sites)
        segments = [adapter.segments(site) for site in self.sites]
        self.layout = Layout(s for group in segments for s in group)
        self._counts = [len(group) for group in segments]
        if getattr(base.model, "melpa_adapted", False):
            raise ModelError(f"{base.name} already carries an adapter; detach that one first")
        base.model.melpa_adapted = True
        self._before = getattr(adapter, "tokens", 0)
        self._slots = [self._place(site) for site in self.sites]
        self._frozen = Frozen()
        self.frozen_blocks = self._freeze(min(site.layer for site in self.sites))

    def _place(self, site: Site) -> Slot:
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

    def _weights(self, rows: torch.Tensor) -> list[list[torch.Tensor]]:
        parts = ops.split(rows[:, : self.layout.size], self.layout.offsets[1:-1], axis=1)
        shaped = [
            part.reshape(rows.shape[0], *segment.shape)
            for part, segment in zip(parts, self.layout.segments, strict=True)
        ]
        out, at = [], 0
        for count in self._counts:
            out.append(shaped[at : at + count])
            at += count
        return out

    @contextmanager
    def bound(self, rows: torch.Tensor) -> Iterator[nn.Module]:
        """Lends the model with rows (T, P) bound, for generation; T divides the batch."""
        for slot, weights in zip(self._slots, self._weights(rows), strict=True):
            slot.bind(weights)
        try:
            yield self.base.model
        finally:
            for slot in self._slots:
                slot.bind(None)

    @contextmanager
    def _reusing(self, start: torch.Tensor | None) -> Iterator[None]:
        if start is not None and self.frozen_blocks:
            self._frozen.mode, self._frozen.hidden = "reuse", start
        try:
            yield
        finally:
            self._frozen.mode, self._frozen.hidden = "run", None

    def prefix(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """The output (T*B, L, d) of the frozen blocks, to be given as `start`; None where there are none."""
        return self.frozen_states(tokens)[1] if self.frozen_blocks else None

    def frozen_states(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs (T*B, L, d) of the first and of the last frozen block; there has to be one."""
        frozen = self._frozen
        frozen.mode = "keep"
        try:
            self.base.hidden(tokens)
            return frozen.first, frozen.hidden
        finally:
            frozen.mode, frozen.first, frozen.hidden = "run", None, None

    def hidden(self, rows: torch.Tensor, tokens: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        """The last hidden states (T*B, L, d)."""
        with self.bound(rows), self._reusing(start):
            return self.base.hidden(self.opened(tokens))[:, self._before :]

    def opened(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (R, m + L) with places for the m vectors of a prompt; the same where the adapter has none."""
        return torch.nn.functional.pad(tokens, (self._before, 0)) if self._before else tokens

    def logits(
        self, rows: torch.Tensor, tokens: torch.Tensor, index: torch.Tensor, start: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The logits (N, V) at flat positions `index` (N,) of T*B*L, float32."""
        index = index + self._before * (1 + index // tokens.shape[1])
        with self.bound(rows), self._reusing(start):
            return self.base.logits(self.opened(tokens), index)

    def detach(self) -> None:
        """Takes the slots off again and leaves the base as it was loaded."""
        for slot in self._slots:
            slot.remove()
        for block in self.base.blocks[: self.frozen_blocks]:
            self._frozen.release(block)
        self.base.model.melpa_adapted = False
        self.frozen_blocks = 0
