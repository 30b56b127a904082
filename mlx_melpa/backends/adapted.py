"""A base with slots at the sites of one adapter, as far as it is the same for every engine."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np

from ..core.bases import Adapter
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.sites import Site
from ..core.types import Array, Weights
from ..errors import ModelError
from .base import BaseModel


class Slot(Protocol):
    """A place for an adapter at a module of the base."""

    def bind(self, weights: Sequence[Array] | None) -> None:
        """Binds weights (T, ...) for the next calls; None unbinds."""


class FrozenPrefix:
    """The state of the blocks below the first site.

    `mode`: "run" them, run them and "keep" the outputs of the first and the last one, or "reuse" the kept last output
    in their place. `calls` counts what was kept or reused; `tuples` is True if blocks return tuples.
    """

    def __init__(self) -> None:
        self.mode: Literal["run", "keep", "reuse"] = "run"
        self.first: Array | None = None
        self.hidden: Array | None = None
        self.calls = 0
        self.tuples = False

    def reset(self) -> None:
        """Runs the blocks again, and keeps nothing."""
        self.mode, self.first, self.hidden = "run", None, None


class AdaptedBase(ABC):
    """A base and its adapter, one at a time; raises ModelError for a second.

    `layout` maps the adapter's numbers; `frozen_blocks` is how many blocks lie below the first site and run once per
    batch. All functions take weights and tokens (T*B, L): rows (T, P) of the adapter's numbers, or weights by name,
    (T, ...), or (1, ...) where tasks share them. They are pure: nothing stays bound after a call.
    """

    ops: Engine
    """The engine's operations."""

    def __init__(self, base: BaseModel, adapter: Adapter):
        self.base, self.adapter = base, adapter
        self.sites = adapter.choose(base.sites)
        segments = [adapter.segments(site) for site in self.sites]
        self.layout = Layout(s for group in segments for s in group)
        self._names = [[segment.name for segment in group] for group in segments]
        self._before = adapter.tokens
        if base.adapted:
            raise ModelError(f"{base.name} already carries an adapter; detach that one first")
        base.adapted = True
        self._slots = [self._place(site) for site in self.sites]
        self._frozen = FrozenPrefix()
        self.frozen_blocks = self._freeze(min(site.layer for site in self.sites))

    @abstractmethod
    def _place(self, site: Site) -> Slot:
        """Puts a slot at a site."""

    @abstractmethod
    def _remove(self, site: Site, slot: Slot) -> None:
        """Takes a slot out again."""

    @abstractmethod
    def _control(self, count: int) -> None:
        """Puts the first `count` blocks under the control of `_frozen`."""

    @abstractmethod
    def _release(self, count: int) -> None:
        """Leaves the first `count` blocks as they were loaded."""

    def _freeze(self, count: int) -> int:
        """Puts blocks below the first site under control, and keeps that only where it is proven bit-equal.

        An encoder-decoder cuts its input anew for every reading, so nothing of it can be kept.
        """
        if not count or self.base.kind == "encoder-decoder":
            return 0
        self._control(count)
        if self._prefix_works(count):
            return count
        self._release(count)
        return 0

    def _prefix_works(self, count: int) -> bool:
        tokens, frozen = self.ops.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]), self._frozen
        whole = self.base.hidden(tokens)
        try:
            frozen.mode, frozen.calls = "keep", 0
            self.base.hidden(tokens)
            kept: Any = frozen.hidden
            if frozen.calls != 1 or type(kept) is not type(whole) or kept.ndim != 3:
                return False
            frozen.mode, frozen.calls = "reuse", 0
            again = self.base.hidden(tokens)
            return frozen.calls == count and np.array_equal(self.ops.numpy(whole), self.ops.numpy(again))
        finally:
            frozen.reset()

    def opened(self, tokens: Array) -> Array:
        """Tokens (R, m + L) with places for the m vectors of a prompt; the same where the adapter has none."""
        if not self._before:
            return tokens
        places = self.ops.array(np.zeros((tokens.shape[0], self._before), np.int32))
        return self.ops.concatenate([places, tokens], 1)

    @contextmanager
    def bound(self, weights: Weights | Array) -> Iterator[Any]:
        """Lends the model with weights bound, for generation; T divides the batch."""
        # rows may hold a readout's numbers after the adapter's
        named = (
            weights if isinstance(weights, Mapping) else self.layout.weights(self.ops, weights[:, : self.layout.size])
        )
        for slot, names in zip(self._slots, self._names, strict=True):
            slot.bind([named[name] for name in names])
        try:
            yield self.base.model
        finally:
            for slot in self._slots:
                slot.bind(None)

    @contextmanager
    def _reusing(self, prefix_states: Array | None) -> Iterator[None]:
        if prefix_states is not None and self.frozen_blocks:
            self._frozen.mode, self._frozen.hidden = "reuse", prefix_states
        try:
            yield
        finally:
            self._frozen.reset()

    def frozen_states(self, tokens: Array) -> tuple[Array, Array]:
        """The outputs (T*B, L, d) of the first and of the last frozen block; there has to be one."""
        self._frozen.mode = "keep"
        try:
            self.base.hidden(tokens)
            return self._frozen.first, self._frozen.hidden
        finally:
            self._frozen.reset()

    def hidden(self, weights: Weights | Array, tokens: Array, prefix_states: Array | None = None) -> Array:
        """The last hidden states (T*B, L, d); `prefix_states` is the output of the frozen blocks, if it is known."""
        with self.bound(weights), self._reusing(prefix_states):
            whole = self.base.hidden(self.opened(tokens))
        return whole[:, self._before :] if self._before else whole

    def logits(
        self, weights: Weights | Array, tokens: Array, index: Array, prefix_states: Array | None = None
    ) -> Array:
        """The logits (N, V) at flat positions `index` (N,) of T*B*L, float32."""
        index = index + self._before * (1 + index // tokens.shape[1])
        with self.bound(weights), self._reusing(prefix_states):
            return self.base.logits(self.opened(tokens), index)

    def detach(self) -> None:
        """Takes the slots out again and leaves the base as it was loaded."""
        for site, slot in zip(self.sites, self._slots, strict=True):
            self._remove(site, slot)
        self._release(self.frozen_blocks)
        self.frozen_blocks = 0
        self.base.adapted = False
