"""Attention behind a prefix: more keys and values before those that a model makes, on any device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import mlx.core as mx

mlx_attention = mx.fast.scaled_dot_product_attention
"""MLX's own, whatever is installed."""
Mask = mx.array | str | None
Change = Callable[[mx.array, mx.array], tuple[mx.array, mx.array]]
_change: ContextVar[Change | None] = ContextVar("change", default=None)


@contextmanager
def behind(change: Change) -> Iterator[None]:
    """Inside, attention reads what `change` makes of its keys and values: more before them, for every query to see."""
    token = _change.set(change)
    try:
        yield
    finally:
        _change.reset(token)


def extended(k: mx.array, v: mx.array, mask: Mask) -> tuple[mx.array, mx.array, Mask]:
    """Keys and values (B, H, S, D) with what stands before them here, and a mask that lets every query see that."""
    change = _change.get()
    if change is None:
        return k, v, mask
    own = k.shape[2]
    k, v = change(k, v)
    if isinstance(mask, mx.array):  # "causal" counts from the last key, and needs no more
        seen = mx.full((*mask.shape[:-1], k.shape[2] - own), mask.dtype == mx.bool_, mask.dtype)
        mask = mx.concatenate([seen, mask], -1)
    return k, v, mask


def attention(q: mx.array, k: mx.array, v: mx.array, *, scale: float, mask: Mask = None, **other: Any) -> mx.array:
    """MLX's own `mx.fast.scaled_dot_product_attention`, where more may stand before keys and values."""
    k, v, mask = extended(k, v, mask)
    return mlx_attention(q, k, v, scale=scale, mask=mask, **other)
