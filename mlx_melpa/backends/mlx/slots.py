"""Modules put around a base model's own: a slot for an adapter, a tap before the head, a gate at the frozen prefix."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ...core.types import Tree
from ..adapted import FrozenPrefix
from .prefix_attention import behind


class Wrap(nn.Module):
    """A module around another; every attribute that it lacks is the inner one's."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self["base"] = base

    def __getattr__(self, key: str) -> Any:
        if key in self:
            return self[key]
        if "base" in self:
            return getattr(self["base"], key)
        raise AttributeError(key)

    def _keep(self, **own: object) -> None:
        """Sets plain attributes: a module's own way would look for them in the inner one."""
        for key, value in own.items():
            object.__setattr__(self, key, value)


class Slot(Wrap):
    """A layer with a place for an adapter: with nothing bound it is the layer itself."""

    def __init__(self, base: nn.Module, apply: Callable[[Sequence[mx.array], mx.array, mx.array], Tree]):
        super().__init__(base)
        self._keep(_apply=apply, _weights=[])

    def bind(self, weights: Sequence[mx.array] | None) -> None:
        """Binds weights (T, ...) for the next calls; None unbinds."""
        self._weights[:] = [] if weights is None else [weights]

    def __call__(self, x: mx.array, *args: object, **named: object) -> Tree:
        y = self.base(x, *args, **named)
        return self._apply(self._weights[0], x, y) if self._weights else y


class Entry(Slot):
    """A block whose input an adapter writes to, once for each binding: what is read later goes on from a cache."""

    def __call__(self, x: mx.array, *args: object, **named: object) -> Tree:
        return self.base(self._apply(self._weights.pop(), x, x) if self._weights else x, *args, **named)


class Keys(Slot):
    """A block whose attention reads what an adapter makes of its keys and values."""

    def __call__(self, x: mx.array, *args: object, **named: object) -> Tree:
        if not self._weights:
            return self.base(x, *args, **named)
        with behind(partial(self._apply, self._weights[0])):
            return self.base(x, *args, **named)


class Reading:
    """Instructions to a tap: pick positions before the head, or stop at the hidden states; counts the calls."""

    def __init__(self) -> None:
        self.index: mx.array | None = None
        self.stop = False
        self.hidden: mx.array | None = None
        self.calls = 0


class Tap(Wrap):
    """The head (a linear layer, or tied embeddings) that projects only the positions that are read."""

    def __init__(self, base: nn.Module, reading: Reading):
        super().__init__(base)
        self._keep(_reading=reading, _embedding=hasattr(base, "as_linear"))

    def _project(self, x: mx.array, head: Callable[[mx.array], mx.array]) -> mx.array:
        reading = self._reading
        reading.calls += 1
        if reading.stop:
            reading.hidden = x
            return x[..., :1]
        if reading.index is not None:
            x = x.reshape(-1, x.shape[-1])[reading.index][None]
        return head(x)

    def __call__(self, x: mx.array) -> mx.array:
        return self.base(x) if self._embedding else self._project(x, self.base)

    def as_linear(self, x: mx.array) -> mx.array:
        """Projects to the vocabulary with tied embeddings."""
        return self._project(x, self.base.as_linear)


class Block(Wrap):
    """A block of the frozen prefix."""

    def __init__(self, base: nn.Module, frozen: FrozenPrefix, first: bool, last: bool):
        super().__init__(base)
        self._keep(_frozen=frozen, _first=first, _last=last)

    def __call__(self, x: mx.array, *args: object, **named: object) -> Tree:
        frozen = self._frozen
        if frozen.mode == "reuse":
            frozen.calls += 1
            return frozen.hidden if self._last else x
        y = self.base(x, *args, **named)
        if frozen.mode == "keep" and self._first:
            frozen.first = y
        if frozen.mode == "keep" and self._last:
            frozen.calls += 1
            frozen.hidden = y
        return y
