"""A text that is read once, and what is read after it, beside sequences that are read whole."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import KVCache, RotatingKVCache

from mlx_melpa import adapters
from mlx_melpa.backends.mlx import model as base_model
from mlx_melpa.backends.mlx import shared_prompt
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.shared_prompt import SharedPrompt


@pytest.fixture(scope="module")
def adapted(shared: Path) -> Adapted:
    base = base_model.load(str(shared / "models" / "stories260k"))
    return Adapted(base, adapters.KINDS["lora"](rank=2, sites=["v_proj"]))


def begun(count: int, shared: int, length: int, seed: int = 0) -> np.ndarray:
    """Sequences (count, length) of one beginning, the same for every seed, which differ right behind it."""
    tokens = np.random.default_rng([1, seed]).integers(3, 500, (count, length))
    tokens[:, :shared] = np.random.default_rng(7).integers(3, 500, 40)[:shared]
    tokens[:, shared] = 10 + np.arange(count)
    return tokens.astype(np.int32)


def whole(adapted: Adapted, tokens: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Logits read at flat positions of sequences that go through the plain model one by one."""
    found = [np.array(adapted.base.model(mx.array(row[None])).astype(mx.float32))[0] for row in tokens]
    return np.concatenate(found)[index]


def test_logits_are_those_of_the_whole_sequences_whatever_was_read_before(
    adapted: Adapted, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    taken, plain = SharedPrompt(adapted), adapted.base.logits

    def watched(tokens: mx.array, index: mx.array, **options: Any) -> mx.array:
        seen.append(tokens.shape[1])
        return plain(tokens, index, **options)

    monkeypatch.setattr(adapted.base, "logits", watched)
    # the first, then one with less in common, with more, and with nothing; positions out of order and twice
    for seed, (shared, length, before) in enumerate([(20, 30, 20), (12, 30, 12), (33, 40, 33), (0, 9, 0)]):
        tokens = begun(3, shared, length, seed)
        index = np.array([2 * length + shared, length - 1, length + shared + 2, length - 1], np.int32)
        found = taken.logits(mx.zeros((1, 0)), mx.array(tokens), mx.array(index))
        np.testing.assert_allclose(np.array(found), whole(adapted, tokens, index), atol=2e-4)
        assert seen.pop() == length - before


def test_what_is_read_is_never_lent(adapted: Adapted) -> None:
    tokens = begun(2, 20, 24)
    index = np.array([5, 24 + 21], np.int32)  # the first within what both begin with
    found = SharedPrompt(adapted).logits(mx.zeros((1, 0)), mx.array(tokens), mx.array(index))
    np.testing.assert_allclose(np.array(found), whole(adapted, tokens, index), atol=2e-4)


def test_a_base_that_remembers_otherwise_reads_all(adapted: Adapted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_prompt, "make_prompt_cache", lambda model: [KVCache(), RotatingKVCache(max_size=8)])
    taken = SharedPrompt(adapted)
    monkeypatch.setattr(taken, "_after", lambda begins: pytest.fail("lent"))
    tokens, index = begun(3, 20, 24), np.array([23, 47], np.int32)
    found = taken.logits(mx.zeros((1, 0)), mx.array(tokens), mx.array(index))
    np.testing.assert_allclose(np.array(found), whole(adapted, tokens, index), atol=2e-4)
