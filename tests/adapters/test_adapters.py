"""Exact parameter counts, and the formulas against NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.backends.mlx import ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base, load
from mlx_melpa.config.build import part_of
from mlx_melpa.core.layout import Layout
from mlx_melpa.core.sites import Site
from mlx_melpa.errors import ModelError


@pytest.fixture(scope="module")
def pocket() -> Base:
    return load("pocket")


def count(base: Base, kind: str, **settings: object) -> int:
    adapted = Adapted(base, KINDS[kind](**settings))
    adapted.detach()
    return adapted.layout.size


def test_lora_has_r_times_both_widths_numbers_a_site(pocket: Base) -> None:
    sites = ["q_proj", "v_proj", "up_proj", "down_proj"]
    assert count(pocket, "lora", rank=8, sites=sites) == 141_312
    assert count(pocket, "lora", rank=1, sites=["q_proj"], layers=1) == 256 + 256
    assert count(pocket, "lora", rank=2, sites=["v_proj"], layers=[0, 5]) == 2 * 2 * (256 + 128)


def test_bottleneck_has_2dw_w_d_numbers_a_block(pocket: Base) -> None:
    block = 2 * 256 * 16 + 16 + 256
    assert count(pocket, "bottleneck", width=16, placement="houlsby") == 6 * 2 * block == 101_568
    assert count(pocket, "bottleneck", width=16, placement="pfeiffer") == 6 * block == 50_784
    assert count(pocket, "bottleneck", width=4, placement="pfeiffer", layers=1) == 2 * 256 * 4 + 4 + 256


def test_full_has_as_many_numbers_as_the_weights_and_is_refused_above_its_budget(pocket: Base) -> None:
    assert count(pocket, "full", sites=["q_proj"], layers=1) == 256 * 256
    assert count(pocket, "full", sites=["q_proj", "v_proj"], layers=[0, 5]) == 2 * 256 * (256 + 128)
    assert count(pocket, "full", sites=["v_proj"], layers=1, budget=256 * 128) == 256 * 128
    with pytest.raises(
        ModelError, match=r"full has 32,768 numbers at 1 sites, above adapter\.budget: 32,767; name fewer"
    ):
        count(pocket, "full", sites=["v_proj"], layers=1, budget=256 * 128 - 1)


def test_a_prompt_has_m_times_the_width_numbers(pocket: Base) -> None:
    assert count(pocket, "prompt") == 20 * 256
    assert count(pocket, "prompt", tokens=1) == 256


def test_the_widths_of_gpt2(shared: Path) -> None:
    gpt2 = load(str(shared / "models" / "tinystories-instruct-3m"))
    shapes = {(s.path, s.width_in, s.width_out) for s in gpt2.sites if s.role == "linear"}
    wide = gpt2.width
    assert {("attn.c_attn", wide, 3 * wide), ("mlp.c_fc", wide, 4 * wide), ("mlp.c_proj", 4 * wide, wide)} <= shapes


def weights(kind: str, **settings: object) -> tuple[object, list[np.ndarray]]:
    adapter = KINDS[kind](**settings)
    layout = Layout(adapter.segments(Site(0, "x", 6, 4 if kind == "lora" else 6)))
    rng = np.random.default_rng(0)
    return adapter, [rng.normal(size=(2, *s.shape)).astype(np.float32) for s in layout.segments]


def test_lora_is_y_plus_scale_times_x_a_b() -> None:
    adapter, (a, b) = weights("lora", rank=3, scale=0.5)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 5, 6)).astype(np.float32), rng.normal(size=(4, 5, 4)).astype(np.float32)
    expected = np.stack([y[i] + 0.5 * x[i] @ a[i // 2] @ b[i // 2] for i in range(4)])
    found = adapter.apply(ops, [ops.array(a), ops.array(b)], ops.array(x), ops.array(y))
    assert np.abs(ops.numpy(found) - expected).max() < 1e-5


def test_full_is_y_plus_x_delta() -> None:
    adapter, (delta,) = weights("full")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 5, 6)).astype(np.float32), rng.normal(size=(4, 5, 6)).astype(np.float32)
    expected = np.stack([y[i] + x[i] @ delta[i // 2] for i in range(4)])
    found = adapter.apply(ops, [ops.array(delta)], ops.array(x), ops.array(y))
    assert np.abs(ops.numpy(found) - expected).max() < 1e-5


@pytest.mark.parametrize("backend", ["mlx", "torch"])
def test_a_prompt_of_words_vectors_is_read_as_these_words(shared: Path, backend: str) -> None:
    """Two tasks whose vectors are those of other words: states, logits and text are the base's after these words."""
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    engine: Any = part_of(backend, "ops")
    base = part_of(backend, "model").load(str(shared / "models" / "stories260k"))
    before, text = np.array([[7, 30, 12], [40, 9, 55]]), np.random.default_rng(0).integers(3, 200, (4, 6))
    whole = np.concatenate([np.repeat(before, 2, 0), text], 1)
    plain = part_of(backend, "adapted").Adapted(base, KINDS["lora"](rank=1, sites=["q_proj"], layers=1))
    still = engine.zeros((2, plain.layout.size))
    index = np.array([0, 3, 5, 6, 13, 23])
    shifted = index // 6 * 9 + 3 + index % 6
    states = engine.numpy(plain.hidden(still, engine.array(whole)))[:, 3:]
    scores = engine.numpy(plain.logits(still, engine.array(whole), engine.array(shifted)))
    write = part_of(backend, "generate").write
    said = "".join(write(plain, engine.numpy(still)[:1], whole[0].tolist(), max_tokens=4, temp=0.0, seed=0))
    plain.detach()
    embedding = base.model.model.embed_tokens
    vectors = embedding.weight if backend == "mlx" else embedding.weight.detach()
    rows = engine.array(engine.numpy(vectors)[before].reshape(2, -1))
    prompted = part_of(backend, "adapted").Adapted(base, KINDS["prompt"](tokens=3))
    np.testing.assert_allclose(engine.numpy(prompted.hidden(rows, engine.array(text))), states, atol=1e-4)
    found = engine.numpy(prompted.logits(rows, engine.array(text), engine.array(index)))
    np.testing.assert_allclose(found, scores, atol=1e-3)
    row = engine.numpy(rows)[:1]
    assert "".join(write(prompted, row, text[0].tolist(), max_tokens=4, temp=0.0, seed=0)) == said != ""
    prompted.detach()


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_bottleneck_is_y_plus_f_of_y_down_up(activation: str) -> None:
    adapter, (down, down_bias, up, up_bias) = weights("bottleneck", width=3, activation=activation)
    y = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)

    def one(i: int) -> np.ndarray:
        h = y[i] @ down[i // 2] + down_bias[i // 2]
        h = np.maximum(h, 0) if activation == "relu" else h / (1 + np.exp(-h))
        return y[i] + h @ up[i // 2] + up_bias[i // 2]

    found = adapter.apply(ops, [ops.array(w) for w in (down, down_bias, up, up_bias)], None, ops.array(y))
    assert np.abs(ops.numpy(found) - np.stack([one(i) for i in range(4)])).max() < 1e-5
