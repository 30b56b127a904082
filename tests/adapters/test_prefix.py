"""Prefixes: against attention by hand, real tokens' keys and values, finite differences; and what is refused."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.backends.mlx import attention, ops
from mlx_melpa.backends.mlx import prefix_attention as behind
from mlx_melpa.backends.mlx.model import Base, load, wrap
from mlx_melpa.backends.mlx.slots import Keys
from mlx_melpa.config.build import part_of
from mlx_melpa.core.sites import Site, cache
from mlx_melpa.errors import ModelError

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64,
}
BEFORE, TEXT = [7, 30, 12], [5, 9, 5, 21, 40, 2]


def tiny(kind: str, **settings: Any) -> Base:
    module = import_module(f"mlx_lm.models.{kind}")
    config = {"model_type": kind, **SMALL, "rope_theta": 10000.0, **settings}
    mx.random.seed(0)
    model = module.Model(module.ModelArgs.from_dict(config))
    model.update(ops.map_tree(lambda w: w * 3 if w.ndim > 1 else w, model.parameters()))
    return wrap(f"tiny {kind}", model, None, config)


@pytest.fixture
def put() -> Iterator[Any]:
    there: list[Any] = []

    def on(base: Any, backend: str = "mlx", **settings: Any) -> Any:
        there.append(part_of(backend, "adapted").Adapted(base, KINDS["prefix"](**settings)))
        return there[-1]

    yield on
    for adapted in there:
        adapted.detach()


def attended(q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: np.ndarray, scale: float) -> np.ndarray:
    """softmax(scale q k^T where seen) v for one head: q (L, e), k (S, e), v (S, f)."""
    scores = np.where(seen, scale * q @ k.T, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True) @ v


@pytest.mark.parametrize("backend", ["mlx", "torch"])
@pytest.mark.parametrize("mask", ["none", "causal", "bool", "added", "repeated"])
def test_attention_behind_a_prefix_is_attention_by_hand(backend: str, mask: str) -> None:
    """Two tasks of two sequences; four query heads on two key heads, which torch may have repeated."""
    if backend == "torch":
        torch = pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
        slots = import_module("mlx_melpa.backends.torch.slots")
    engine: Any = part_of(backend, "ops")
    draw = np.random.default_rng(0).standard_normal
    q, k, v = (draw(s).astype(np.float32) for s in ((4, 4, 5, 3), (4, 2, 5, 3), (4, 2, 5, 6)))
    learned = [draw(s).astype(np.float32) for s in ((2, 2 * 3, 2), (2, 2 * 6, 2))]
    own = np.tril(np.ones((5, 5), bool)) if mask in ("causal", "repeated") else np.ones((5, 5), bool)
    if mask in ("bool", "added"):
        own = np.random.default_rng(1).random((5, 5)) < 0.5
    seen = np.concatenate([np.ones((5, 2), bool), own], 1)
    added = np.where(own, 0.0, -1e9).astype(np.float32)
    wanted = np.zeros((4, 4, 5, 6))
    for row in range(4):
        for head in range(4):
            keys, values = (w[row // 2].reshape(2, -1, 2)[head // 2].T for w in learned)
            whole = np.concatenate([keys, k[row, head // 2]]), np.concatenate([values, v[row, head // 2]])
            wanted[row, head] = attended(q[row, head], *whole, seen, 0.7)
    weights = [engine.array(w) for w in learned]
    if mask == "repeated":
        k, v = (np.repeat(x, 2, 1) for x in (k, v))
    q, k, v = (engine.array(x) for x in (q, k, v))

    def change(x: Any, y: Any) -> tuple[Any, Any]:
        return KINDS["prefix"](length=2).apply(engine, weights, x, y)

    if backend == "torch":
        given = {"bool": torch.tensor(own), "added": torch.tensor(added)}.get(mask)
        asked = {"attn_mask": given, "is_causal": mask in ("causal", "repeated"), "enable_gqa": k.shape[1] == 2}
        with slots._Behind(change):
            found = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.7, **asked)
        both = [found]
    else:
        given = {"bool": mx.array(own), "added": mx.array(added), "none": None}.get(mask, "causal")
        with behind.behind(change):
            both = [f(q, k, v, scale=0.7, mask=given) for f in (attention.attention, behind.attention)]
    for found in both:
        np.testing.assert_allclose(engine.numpy(found), wanted, atol=1e-5)


class Kept:
    """A model's cache for a text that begins before position 0: it keeps what attention reads."""

    def __init__(self, offset: int):
        self.offset = offset

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        self.found = {"keys": np.array(keys)[0], "values": np.array(values)[0]}
        return keys, values


def row_of(adapted: Any, kept: list[Kept]) -> np.ndarray:
    """Keys and values (H, m, e) of each block as a row (1, P)."""
    found = {
        f"{layer}.cache.{name}": own.transpose(0, 2, 1).reshape(-1, own.shape[1])
        for layer, state in enumerate(kept)
        for name, own in state.found.items()
    }
    return adapted.layout.row(found)[None]


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "gemma3_text"])
def test_real_tokens_keys_and_values_as_a_prefix_are_these_tokens(put: Any, kind: str) -> None:
    """What the base makes of tokens at positions -3 to -1 stands before a text from 0: rotations differ by angles."""
    own = {"gemma3_text": {"sliding_window": 16, "sliding_window_pattern": 2}}.get(kind, {})
    base = tiny(kind, **({} if kind == "qwen2" else {"head_dim": 8}), **own)
    plain = np.array(base.model(mx.array([BEFORE + TEXT])))[0, 3:]
    kept = [Kept(-3) for _ in base.blocks]
    mx.eval(base.model(mx.array([BEFORE]), cache=kept))
    adapted = put(base, length=3)
    row, text = mx.array(row_of(adapted, kept)), mx.array([TEXT])
    np.testing.assert_allclose(np.array(adapted.logits(row, text, mx.arange(6)))[:, :50], plain, atol=1e-4)
    assert np.abs(np.array(adapted.logits(0 * row, text, mx.arange(6))) - plain).max() > 0.01
    assert adapted.hidden(row, text).shape == (1, 6, 16)


@pytest.mark.parametrize("backend", ["mlx", "torch"])
def test_writing_goes_on_behind_a_prefix(shared: Path, put: Any, backend: str) -> None:
    """Two tasks behind other tokens' keys and values: logits, and the text that a cache makes token by token."""
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    engine: Any = part_of(backend, "ops")
    path = str(shared / "models" / "stories260k")
    before, text = [[7, 30, 12], [40, 9, 55]], np.random.default_rng(0).integers(3, 200, (4, 6))
    origin, states = load(path), []
    for tokens in before:
        states.append([Kept(-3) for _ in origin.blocks])
        mx.eval(origin.model(mx.array([tokens]), cache=states[-1]))
    whole = mx.array(np.concatenate([np.repeat(before, 2, 0), text], 1))
    plain = np.array(origin.model(whole))[:, 3:]
    adapted = put(part_of(backend, "model").load(path), backend, length=3)
    rows = np.concatenate([row_of(adapted, kept) for kept in states])
    found = adapted.logits(engine.array(rows), engine.array(text), engine.array(np.arange(24)))
    np.testing.assert_allclose(engine.numpy(found).reshape(plain.shape), plain, atol=1e-3)
    from mlx_lm import stream_generate

    write, ids = part_of(backend, "generate").write, [*before[0], *text[0].tolist()]
    said = "".join(piece.text for piece in stream_generate(origin.model, origin.tokenizer, ids, max_tokens=8))
    assert "".join(write(adapted, rows[:1], text[0].tolist(), max_tokens=8, temp=0.0, seed=0)) == said != ""


def test_a_prefix_is_seen_from_beyond_the_window(put: Any) -> None:
    base = tiny("gemma3_text", head_dim=8, sliding_window=2, sliding_window_pattern=2)
    adapted = put(base, length=3, layers=[0])
    rows = np.random.default_rng(0).normal(size=(2, adapted.layout.size)).astype(np.float32)
    last = np.array(adapted.logits(mx.array(rows), mx.array([TEXT, TEXT]), mx.array([5, 11])))
    assert np.abs(last[0] - last[1]).max() > 1e-3


def test_gradients_are_differences(put: Any) -> None:
    adapted = put(tiny("qwen3", head_dim=8), length=2)
    draw = np.random.default_rng(3)
    row = mx.array(0.3 * draw.standard_normal((1, adapted.layout.size)).astype(np.float32))

    def loss(values: mx.array) -> mx.array:
        z = adapted.logits(values, mx.array([TEXT]), mx.arange(6))
        return (mx.logsumexp(z, axis=-1) - z[:, 3]).mean()

    grad = np.array(mx.grad(loss)(row))
    for name, own in adapted.layout.views(grad[0]).items():
        mask = np.concatenate([np.full(s.size, s.name == name) for s in adapted.layout.segments])
        along = mx.array((grad * mask / np.linalg.norm(own)).astype(np.float32))
        slope = (loss(row + 0.02 * along) - loss(row - 0.02 * along)).item() / 0.04
        assert abs(slope / np.linalg.norm(own) - 1) < 1e-2, name


def test_a_prefix_has_m_times_the_widths_of_keys_and_values(put: Any) -> None:
    base = tiny("qwen3", head_dim=8)
    adapted = put(base)
    assert adapted.layout.size == 2 * 10 * (2 * 8 + 2 * 8)
    start = adapted.layout.views(adapted.layout.draw(np.random.default_rng(0)))
    assert all((np.abs(w).max() > 0) == name.endswith(".keys") for name, w in start.items())
    adapted.detach()
    assert put(base, length=3, layers=1).layout.size == 3 * 32
    assert not any(isinstance(block, Keys) for block in base.blocks[:1])


def test_bases_without_keys_of_one_kind_are_refused() -> None:
    odd = [cache(0, [(8, 8), (16, 8)], 2, "tiny"), cache(0, [], 2, "tiny"), cache(0, [(8, 8)] * 4, 2, "tiny")]
    for site, why in zip(odd, ["keys and values of several kinds", "no keys and values", "several kinds"], strict=True):
        with pytest.raises(ModelError, match=f"^adapter prefix: block 0 of tiny .*{why}; take lora$"):
            KINDS["prefix"]().choose([Site(0, "input", 8, 8, "input"), site])
    good = cache(1, [(8, 4)] * 2, 2, "tiny")
    assert KINDS["prefix"]().choose([odd[1], good]) == [good] == [Site(1, "cache", 8, 4, "cache")]
