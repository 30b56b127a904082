"""Attention on a CPU: the fast softmax, and one product per key head for all the query heads that share it.

softmax(scale q k^T + mask) v. MLX's own broadcasts k and v to every query head and takes 20 ns for each exponential.
"""

from functools import lru_cache
from typing import Any

import mlx.core as mx

from .activations import softmax
from .prefix_attention import Mask, extended, mlx_attention

NEVER = -1e9
"""The score of a masked position."""


@lru_cache(maxsize=8)
def _causal(queries: int, keys: int) -> mx.array:
    """Scores (queries, keys) to be added: the last query sees all keys."""
    mask = mx.where(mx.arange(queries)[:, None] + keys - queries >= mx.arange(keys), 0.0, NEVER)
    mx.eval(mask)
    return mask


def attention(q: mx.array, k: mx.array, v: mx.array, *, scale: float, mask: Mask = None, **other: Any) -> mx.array:
    """Takes `mx.fast.scaled_dot_product_attention`'s place: q (B, H, L, D), k and v (B, H', S, D), H' dividing H.

    What is not float32, or comes with sinks, goes to MLX's own.
    """
    k, v, mask = extended(k, v, mask)
    if q.dtype != mx.float32 or any(value is not None for value in other.values()):
        return mlx_attention(q, k, v, scale=scale, mask=mask, **other)
    tasks, heads, queries, _ = q.shape
    shared, keys = k.shape[1], k.shape[2]
    grouped = (scale * q).reshape(tasks, shared, heads // shared * queries, -1)
    scores = (grouped @ mx.swapaxes(k, -1, -2)).reshape(tasks, heads, queries, keys)
    if isinstance(mask, str):
        scores = scores + _causal(queries, keys)
    elif mask is not None:
        scores = mx.where(mask, scores, NEVER) if mask.dtype == mx.bool_ else scores + mask
    weights = softmax(scores).reshape(*grouped.shape[:3], keys)
    return (weights @ v).reshape(tasks, heads, queries, -1)
