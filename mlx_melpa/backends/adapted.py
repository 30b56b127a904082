"""A base with slots at the sites of one adapter, as far as it is the same for every engine."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..core.layout import Layout
from ..core.protocols import Adapter
from ..core.sites import Site
from ..core.types import Array, Weights
from ..errors import ModelError


class AdaptedBase(ABC):
    """A base and its adapter, one at a time; raises ModelError for a second.

    `layout` maps the adapter's numbers; `frozen_blocks` is how many blocks lie below the first site and run once per
    batch. All functions take weights and tokens (T*B, L): rows (T, P) of the adapter's numbers, or weights by name,
    (T, ...), or (1, ...) where tasks share them. They are pure: nothing stays bound after a call.
    """

    _ops: Any
    """The engine's operations."""

    def __init__(self, base: Any, adapter: Adapter):
        self.base, self.adapter = base, adapter
        self.sites = adapter.choose(base.sites)
        segments = [adapter.segments(site) for site in self.sites]
        self.layout = Layout(s for group in segments for s in group)
        self._names = [[segment.name for segment in group] for group in segments]
        self._before = adapter.tokens
        if self._occupied():
            raise ModelError(f"{base.name} already carries an adapter; detach that one first")
        self._slots = [self._place(site) for site in self.sites]
        self._frozen = self._new_frozen()
        self.frozen_blocks = self._freeze(min(site.layer for site in self.sites))

    @abstractmethod
    def _occupied(self) -> bool:
        """True if the base carries an adapter already."""

    @abstractmethod
    def _place(self, site: Site) -> Any:
        """Puts a slot at a site."""

    @abstractmethod
    def _new_frozen(self) -> Any:
        """What controls the frozen blocks."""

    @abstractmethod
    def _freeze(self, count: int) -> int:
        """Puts blocks below the first site under control, and keeps that only where it is proven bit-equal."""

    @abstractmethod
    def opened(self, tokens: Array) -> Array:
        """Tokens (R, m + L) with places for the m vectors of a prompt; the same where the adapter has none."""

    @abstractmethod
    def detach(self) -> None:
        """Takes the slots out again and leaves the base as it was loaded."""

    @contextmanager
    def bound(self, weights: Weights | Array) -> Iterator[Any]:
        """Lends the model with weights bound, for generation; T divides the batch."""
        # rows may hold a readout's numbers after the adapter's
        named = (
            weights if isinstance(weights, Mapping) else self.layout.weights(self._ops, weights[:, : self.layout.size])
        )
        for slot, names in zip(self._slots, self._names, strict=True):
            slot.bind([named[name] for name in names])
        try:
            yield self.base.model
        finally:
            for slot in self._slots:
                slot.bind(None)

    @contextmanager
    def _reusing(self, start: Array | None) -> Iterator[None]:
        if start is not None and self.frozen_blocks:
            self._frozen.mode, self._frozen.hidden = "reuse", start
        try:
            yield
        finally:
            self._frozen.mode, self._frozen.hidden = "run", None

    def frozen_states(self, tokens: Array) -> tuple[Array, Array]:
        """The outputs (T*B, L, d) of the first and of the last frozen block; there has to be one."""
        frozen = self._frozen
        frozen.mode = "keep"
        try:
            self.base.hidden(tokens)
            return frozen.first, frozen.hidden
        finally:
            frozen.mode, frozen.first, frozen.hidden = "run", None, None

    def hidden(self, weights: Weights | Array, tokens: Array, start: Array | None = None) -> Array:
        """The last hidden states (T*B, L, d); `start` is the output of the frozen blocks, if it is known."""
        with self.bound(weights), self._reusing(start):
            whole = self.base.hidden(self.opened(tokens))
        return whole[:, self._before :] if self._before else whole

    def logits(self, weights: Weights | Array, tokens: Array, index: Array, start: Array | None = None) -> Array:
        """The logits (N, V) at flat positions `index` (N,) of T*B*L, float32."""
        index = index + self._before * (1 + index // tokens.shape[1])
        with self.bound(weights), self._reusing(start):
            return self.base.logits(self.opened(tokens), index)
