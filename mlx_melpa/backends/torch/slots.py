"""Hooks on a model's own modules: adapters at sites, a tap before the head, a gate at the frozen prefix.

Hooks leave the model's modules, names and weights as they are, and are taken off without a trace.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...core.types import Tree
from ..adapted import FrozenPrefix

Apply = Callable[[Sequence[torch.Tensor], torch.Tensor, torch.Tensor], Tree]


class Slot:
    """A place for an adapter at a module: with nothing bound the module is itself."""

    def __init__(self, module: nn.Module, apply: Apply):
        self._apply, self._weights = apply, None
        self._hook = module.register_forward_hook(self._act)

    _weights: Sequence[torch.Tensor] | None

    def bind(self, weights: Sequence[torch.Tensor] | None) -> None:
        """Binds weights (T, ...) for the next calls; None unbinds."""
        self._weights = weights

    def _act(self, module: nn.Module, given: tuple[torch.Tensor, ...], out: Tree) -> Tree:
        if self._weights is None:
            return out
        y = out[0] if isinstance(out, tuple) else out
        adapted = self._apply(self._weights, given[0] if given else y, y)
        return (adapted, *out[1:]) if isinstance(out, tuple) else adapted

    def remove(self) -> None:
        """Takes the slot off its module."""
        self._hook.remove()


class Entry(Slot):
    """A block whose input an adapter writes to, once for each binding: what is read later goes on from a cache."""

    def __init__(self, module: nn.Module, apply: Apply):
        self._apply, self._weights = apply, None
        self._hook = module.register_forward_pre_hook(self._write)

    def _write(self, module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        weights, self._weights = self._weights, None
        return None if weights is None else (self._apply(weights, given[0], given[0]), *given[1:])


class Keys(Slot):
    """A block whose attention reads what an adapter makes of its keys and values."""

    def __init__(self, block: nn.Module, apply: Apply):
        self._apply, self._weights, self._block = apply, None, block
        forward = block.forward

        def adapted(*args: object, **named: object) -> Tree:
            if self._weights is None:
                return forward(*args, **named)
            with _Behind(partial(apply, self._weights)):
                return forward(*args, **named)

        block.forward = adapted

    def remove(self) -> None:
        """Gives the block back its own forward."""
        self._block.__dict__.pop("forward", None)


class _Behind(TorchFunctionMode):
    """Inside, attention reads what `change` makes of its keys and values: more before them, for every query to see."""

    def __init__(self, change: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]):
        super().__init__()
        self._change = change

    def __torch_function__(
        self, func: Callable[..., Tree], types: object, args: tuple[Tree, ...] = (), kwargs: Tree = None
    ) -> Tree:
        called = self._attend if func is functional.scaled_dot_product_attention else func
        return called(*args, **(kwargs or {}))

    def _attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **other: Any,
    ) -> torch.Tensor:
        own = k.shape[2]
        if is_causal:  # torch's counts from the first key, which is no more the text's
            attn_mask = torch.ones(q.shape[2], own, dtype=torch.bool, device=q.device).tril()
        k, v = self._change(k, v)
        if attn_mask is not None:
            attn_mask = functional.pad(attn_mask, (k.shape[2] - own, 0), value=attn_mask.dtype == torch.bool)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, **other)


class Reading:
    """Instructions to a tap at the head: pick flat positions, or stop at the hidden states."""

    def __init__(self) -> None:
        self.index: torch.Tensor | None = None
        self.stop = False
        self.hidden: torch.Tensor | None = None

    def tap(self, head: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        """A pre-hook of the head: it projects only the positions that are read."""
        x = given[0]
        if self.stop:
            self.hidden = x
            return (x[..., :1, :], *given[1:])
        if self.index is not None:
            return (x.reshape(-1, x.shape[-1])[self.index][None], *given[1:])
        return None


def control(block: nn.Module, frozen: FrozenPrefix, first: bool, last: bool) -> None:
    """Puts a block under the control of the prefix, of which it may be the first or the last."""
    forward = block.forward

    def controlled(x: torch.Tensor, *args: object, **named: object) -> Tree:
        if frozen.mode == "reuse":
            frozen.calls += 1
            out = frozen.hidden if last else x
            return (out,) if frozen.tuples else out
        out = forward(x, *args, **named)
        states = out[0] if isinstance(out, tuple) else out
        if frozen.mode == "keep" and first:
            frozen.first = states
        if frozen.mode == "keep" and last:
            frozen.calls += 1
            frozen.tuples, frozen.hidden = isinstance(out, tuple), states
        return out

    block.forward = controlled  # type: ignore[method-assign]


def release(block: nn.Module) -> None:
    """Gives a block back its own forward."""
    block.__dict__.pop("forward", None)
