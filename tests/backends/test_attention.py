"""The CPU's softmax and attention beside MLX's own."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_melpa.backends.mlx import activations, attention

SHAPES = [(2, 4, 4, 7, 7), (2, 4, 2, 7, 7), (1, 6, 3, 5, 9)]


def _drawn(tasks: int, heads: int, shared: int, queries: int, keys: int) -> tuple[mx.array, mx.array, mx.array]:
    draw = np.random.default_rng(0).standard_normal
    shapes = ((tasks, heads, queries, 8), (tasks, shared, keys, 8), (tasks, shared, keys, 8))
    q, k, v = (mx.array(draw(shape).astype(np.float32)) for shape in shapes)
    return q, k, v


def _masks(queries: int, keys: int) -> dict[str, object]:
    seen = np.random.default_rng(1).random((queries, keys)) < 0.6
    seen[:, 0] = True
    added = np.where(seen, 0.0, -np.inf).astype(np.float32)
    return {"none": None, "causal": "causal", "bool": mx.array(seen), "added": mx.array(added)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mask", ["none", "causal", "bool", "added"])
def test_attention_and_its_gradient_are_those_of_mlx(shape: tuple[int, int, int, int, int], mask: str) -> None:
    given, mask_ = _drawn(*shape), _masks(*shape[3:])[mask]
    weight = mx.array(np.random.default_rng(2).standard_normal(given[0].shape).astype(np.float32))
    found = []
    for function in (attention.attention, attention.mlx_attention):
        outs, grads = mx.vjp(lambda q, k, v, f=function: f(q, k, v, scale=0.3, mask=mask_), list(given), [weight])
        found.append([np.array(x) for x in (*outs, *grads)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_what_may_not_be_seen_has_no_weight_at_all() -> None:
    q, k, v = _drawn(1, 2, 2, 5, 5)
    later = mx.array(np.where(np.arange(5) == 4, 1e3, 0).astype(np.float32)).reshape(1, 1, 5, 1)
    one, other = (attention.attention(q, k, value, scale=1.0, mask="causal") for value in (v, v + later))
    assert np.array_equal(np.array(one)[:, :, :4], np.array(other)[:, :, :4])
    assert not np.array_equal(np.array(one)[:, :, 4], np.array(other)[:, :, 4])


def test_softmax_has_a_second_derivative() -> None:
    x, weight = mx.array([[0.3, -1.0, 2.0]]), mx.array([[1.0, 2.0, -1.0]])

    def slope(function: object, z: mx.array) -> mx.array:
        return mx.grad(lambda y: (function(y) ** 2 * weight).sum())(z).sum() + (function(z) * weight).sum()  # type: ignore[operator]

    ours, theirs = (
        mx.grad(lambda z, f=f: slope(f, z))(x) for f in (activations.softmax, lambda y: mx.softmax(y, axis=-1))
    )
    np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_softmax_hides_no_number_that_is_none(bad: float) -> None:
    assert np.isnan(np.array(activations.softmax(mx.array([[0.0, bad, 1.0]])))).all()
