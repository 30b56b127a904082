"""A base with slots at the sites of one adapter: hidden states and logits as functions of rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ...core.layout import Layout
from ...core.sites import Site
from ...errors import ModelError
from . import ops
from .model import Base
from .slots import Block, Entry, Frozen, Keys, Slot

WHOLE: dict[str, type[Slot]] = {"input": Entry, "cache": Keys}
"""Roles whose place is a whole block."""


class Adapted:
    """A base and its adapter, one at a time; raises ModelError for a second.

    `layout` maps a row's numbers; `frozen_blocks` is how many blocks lie below the first site.
    All functions take rows (T, P) and tokens (T*B, L), and are pure: nothing stays bound after a call.
    """

    def __init__(self, base: Base, adapter: Any):
        self.base, self.adapter = base, adapter
        self.sites = adapter.choose(base.sites)
        segments = [adapter.segments(site) for site in self.sites]
        self.layout = Layout(s for group in segments for s in group)
        self._counts = [len(group) for group in segments]
        self._before = getattr(adapter, "tokens", 0)
        blocks = base.blocks
        if any(isinstance(module, (Slot, Block)) for block in blocks for module in block.modules()):
            raise ModelError(f"{base.name} already carries an adapter; detach that one first")
        self._slots = [_place(blocks, site, adapter) for site in self.sites]
        self._frozen = Frozen()
        self.frozen_blocks = self._freeze(blocks, min(site.layer for site in self.sites))

    def _freeze(self, blocks: list[nn.Module], count: int) -> int:
        """Puts blocks below the first site under control, and keeps that only where it is proven bit-equal."""
        originals = blocks[:count]
        for i in range(count):
            blocks[i] = Block(blocks[i], self._frozen, i == 0, i == count - 1)
        if count and not self._prefix_works(count):
            blocks[:count] = originals
            return 0
        return count

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

    def _weights(self, rows: mx.array) -> list[list[mx.array]]:
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
    def bound(self, rows: mx.array) -> Iterator[nn.Module]:
        """Lends the model with rows (T, P) bound, for generation; T divides the batch."""
        for slot, weights in zip(self._slots, self._weights(rows), strict=True):
            slot.bind(weights)
        try:
            yield self.base.model
        finally:
            for slot in self._slots:
                slot.bind(None)

    @contextmanager
    def _reusing(self, start: mx.array | None) -> Iterator[None]:
        if start is not None and self.frozen_blocks:
            self._frozen.mode, self._frozen.hidden = "reuse", start
        try:
            yield
        finally:
            self._frozen.mode, self._frozen.hidden = "run", None

    def prefix(self, tokens: mx.array) -> mx.array | None:
        """The output (T*B, L, d) of the frozen blocks, to be given as `start`; None where there are none."""
        return self.frozen_states(tokens)[1] if self.frozen_blocks else None

    def frozen_states(self, tokens: mx.array) -> tuple[mx.array, mx.array]:
        """The outputs (T*B, L, d) of the first and of the last frozen block; there has to be one."""
        frozen = self._frozen
        frozen.mode = "keep"
        try:
            self.base.hidden(tokens)
            return frozen.first, frozen.hidden
        finally:
            frozen.mode, frozen.first, frozen.hidden = "run", None, None

    def hidden(self, rows: mx.array, tokens: mx.array, start: mx.array | None = None) -> mx.array:
        """The last hidden states (T*B, L, d)."""
        with self.bound(rows), self._reusing(start):
            whole = self.base.hidden(self.opened(tokens))
        return whole[:, self._before :] if self._before else whole

    def opened(self, tokens: mx.array) -> mx.array:
        """Tokens (R, m + L) with places for the m vectors of a prompt; the same where the adapter has none."""
        return mx.pad(tokens, [(0, 0), (self._before, 0)]) if self._before else tokens

    def logits(self, rows: mx.array, tokens: mx.array, index: mx.array, start: mx.array | None = None) -> mx.array:
        """The logits (N, V) at flat positions `index` (N,) of T*B*L, float32."""
        index = index + self._before * (1 + index // tokens.shape[1])
        with self.bound(rows), self._reusing(start):
            return self.base.logits(self.opened(tokens), index)

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
