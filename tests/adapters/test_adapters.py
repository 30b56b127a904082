"""Exact parameter counts, and the formulas against NumPy."""

from pathlib import Path

import numpy as np
import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.backends.mlx import ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base, load
from mlx_melpa.layout import Layout
from mlx_melpa.sites import Site


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
