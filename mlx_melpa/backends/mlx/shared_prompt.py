"""Many continuations of one text, which the base reads once: its keys and values are lent to each of them."""

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import KVCache, make_prompt_cache

from ...core.types import Weights
from .adapted import Adapted


class SharedPrompt:
    """The base of an adapted model, whatever rows hold; it reads only once what all sequences of a call begin with.

    A base that remembers anything but the keys and values of all tokens reads every sequence whole.
    """

    frozen_blocks = 0

    def __init__(self, adapted: Adapted):
        self.base, self.layout = adapted.base, adapted.layout
        self._lends = all(type(cache) is KVCache for cache in make_prompt_cache(self.base.model))
        self._known, self._kept = np.zeros(0, np.int32), list[KVCache]()

    def logits(self, weights: Weights, tokens: mx.array, index: mx.array, prefix_states: None = None) -> mx.array:
        """The logits (N, V) at flat positions `index` (N,) of tokens (R, L), float32."""
        place, at = np.divmod(np.array(index), tokens.shape[1])
        begins = _agreement(np.array(tokens))[: at.min() if self._lends else 0]
        shared = len(begins)
        lent = [_Lent(cache, shared) for cache in self._after(begins)] if shared else None
        index = mx.array(place * (tokens.shape[1] - shared) + at - shared)
        return self.base.logits(tokens[:, shared:], index, cache=lent)

    def _after(self, begins: np.ndarray) -> list[KVCache]:
        """The base's cache of these tokens, and perhaps of more that it read after them."""
        if not np.array_equal(self._known[: len(begins)], begins):
            kept = make_prompt_cache(self.base.model)
            mx.eval(self.base.hidden(mx.array(begins[None]), cache=kept))
            self._known, self._kept = begins, kept
        return self._kept


class _Lent(KVCache):  # type: ignore[misc]
    """The first `size` keys and values of one sequence, lent to many that go on from there; it takes nothing in."""

    def __init__(self, cache: KVCache, size: int):
        super().__init__()
        keys, values, _ = cache.state
        self._lent, self.offset = (keys[..., :size, :], values[..., :size, :]), size

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """The lent keys and values, followed by those of new tokens (R, H, L, D)."""
        old_keys, old_values = (mx.broadcast_to(old, (len(keys), *old.shape[1:])) for old in self._lent)
        return mx.concatenate([old_keys, keys], 2), mx.concatenate([old_values, values], 2)


def _agreement(tokens: np.ndarray) -> np.ndarray:
    """The tokens that all rows (R, L) begin with."""
    same = (tokens == tokens[0]).all(0)
    return np.asarray(tokens[0, : np.logical_and.accumulate(same).sum()])
