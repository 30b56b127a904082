"""The engine's operations: pull-backs through any tree, trees, saving, the outer optimizer."""

from pathlib import Path

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops


def test_vjp_of_an_output_returned_twice_sums_both_cotangents() -> None:
    x = ops.array([1.0, 2.0])

    def twice(at: dict) -> dict:
        y = at["x"] * at["x"]
        return {"a": y, "b": y}

    pulled = ops.vjp(twice, {"x": x}, {"a": ops.array([1.0, 0.0]), "b": ops.array([10.0, 1.0])})
    np.testing.assert_allclose(ops.numpy(pulled["x"]), [11.0 * 2 * 1, 1.0 * 2 * 2])


def test_vjp_of_outputs_that_are_inputs_passes_cotangents_on() -> None:
    at = {"x": ops.array([1.0]), "y": ops.array([3.0])}
    pulled = ops.vjp(lambda t: {"same": t["x"], "again": t["x"], "p": t["x"] * t["y"]}, at, {
        "same": ops.array([2.0]), "again": ops.array([5.0]), "p": ops.array([1.0]),
    })  # fmt: skip
    assert float(pulled["x"].item()) == 2.0 + 5.0 + 3.0
    assert float(pulled["y"].item()) == 1.0


def test_vjp_keeps_empty_parts_of_trees_and_gives_zeros_to_what_is_not_used() -> None:
    at = ({"rows": ops.ones((2, 3)), "memory": {}}, {"rule": {}, "other": {"s": ops.ones((1,))}})
    pulled = ops.vjp(lambda t: {"rows": 2 * t[0]["rows"], "memory": {}}, at, {"rows": ops.ones((2, 3)), "memory": {}})
    assert pulled[0]["memory"] == {}
    assert pulled[1]["rule"] == {}
    assert ops.numpy(pulled[0]["rows"]).tolist() == [[2.0] * 3] * 2
    assert ops.numpy(pulled[1]["other"]["s"]).tolist() == [0.0]


def test_flatten_and_rebuild_are_inverse() -> None:
    tree = {"b": (ops.array([1.0]), {"c": ops.array([2.0])}), "a": {}, "d": ops.array([3.0])}
    leaves = ops.flatten(tree)
    assert [name for name, _ in leaves] == ["b.0", "b.1.c", "d"]
    again = ops.rebuild(tree, [2 * leaf for _, leaf in leaves])
    assert again["a"] == {}
    assert [float(leaf.item()) for _, leaf in ops.flatten(again)] == [2.0, 4.0, 6.0]


def test_the_gradient_of_split_is_one_concatenation() -> None:
    rows = ops.array(np.arange(12.0).reshape(2, 6))
    grad = ops.grad(lambda x: sum((i + 1) * part.sum() for i, part in enumerate(ops.split(x, (1, 4), 1))), rows)
    assert ops.numpy(grad).tolist() == [[1.0, 2.0, 2.0, 2.0, 3.0, 3.0]] * 2
    assert ops.split(rows, (), 1)[0].shape == (2, 6)


def test_grad_can_be_differentiated_again() -> None:
    x = ops.array([2.0])
    second = ops.grad(lambda y: ops.grad(lambda z: (z * z * z).sum(), y).sum(), x)
    assert float(second.item()) == pytest.approx(12.0)


def test_saved_trees_come_back_with_their_metadata(tmp_path: Path) -> None:
    tree = {"theta": {"start": ops.array([1.5, -2.0]), "rule": {}}, "n": ops.array(np.array([3]))}
    ops.save(tmp_path / "t.safetensors", tree, {"progress": "7"})
    again = ops.load(tmp_path / "t.safetensors", ops.zeros_like(tree))
    assert ops.numpy(again["theta"]["start"]).tolist() == [1.5, -2.0]
    assert again["theta"]["rule"] == {}
    assert ops.metadata(tmp_path / "t.safetensors")["progress"] == "7"
    with pytest.raises(KeyError, match="missing"):
        ops.load(tmp_path / "t.safetensors", {"missing": ops.zeros((1,))})


def test_clip_scales_down_only_what_is_too_long() -> None:
    tree = {"a": ops.array([3.0]), "b": ops.array([4.0])}
    clipped, norm = ops.clip(tree, 1.0)
    assert float(norm.item()) == pytest.approx(5.0)
    assert float(ops.clip(clipped, 1.0)[1].item()) == pytest.approx(1.0, abs=1e-4)
    kept, _ = ops.clip(tree, float("inf"))
    assert float(kept["b"].item()) == 4.0


def test_outer_adam_corrects_its_bias() -> None:
    optimizer = ops.OuterOptimizer("adam", lr=0.1, schedule="constant", warmup=0, steps=10, betas=[0.9, 0.999])
    theta = {"x": ops.array([1.0, 1.0])}
    optimizer.begin(theta)
    theta = optimizer.apply({"x": ops.array([0.5, -3.0])}, theta)
    np.testing.assert_allclose(ops.numpy(theta["x"]), [0.9, 1.1], atol=1e-5)  # the first step is lr long


def test_outer_rates_rise_and_fall() -> None:
    optimizer = ops.OuterOptimizer("sgd", lr=1.0, schedule="cosine", warmup=2, steps=12)
    theta = {"x": ops.array([0.0])}
    optimizer.begin(theta)
    steps = []
    for _ in range(12):
        before = float(theta["x"].item())
        theta = optimizer.apply({"x": ops.array([-1.0])}, theta)
        steps.append(float(theta["x"].item()) - before)
    wanted = [1 / 3, 2 / 3, *(0.5 * (1 + np.cos(np.pi * k / 10)) for k in range(10))]
    np.testing.assert_allclose(steps, wanted, atol=1e-5)


def test_numbers_enter_as_float32_and_int32() -> None:
    assert str(ops.array(np.zeros(2, np.float64)).dtype).endswith("float32")
    assert str(ops.array(np.zeros(2, np.int64)).dtype).endswith("int32")
    assert ops.numpy(ops.array([[1, 2]])).dtype == np.int32


def _log_sum_exp(x: np.ndarray) -> np.ndarray:
    top = x.max(-1, keepdims=True)
    return top + np.log(np.exp(x - top).sum(-1, keepdims=True))


def test_log_sum_exp_is_that_of_double_precision() -> None:
    rng = np.random.default_rng(0)
    for spread, shift in ((1, 0), (30, 0), (300, 1e4), (0, -1e4)):
        x = (spread * rng.standard_normal((5, 4096)) + shift).astype(np.float32)
        found = ops.numpy(ops.log_sum_exp(ops.array(x)))
        np.testing.assert_allclose(found, _log_sum_exp(x.astype(np.float64)), rtol=3e-7, atol=1e-6)


def test_the_gradient_of_log_sum_exp_is_softmax_and_its_hessian_is_that_of_softmax() -> None:
    x = ops.array(3 * np.random.default_rng(1).standard_normal((1, 7)))
    e = np.exp(ops.numpy(x).astype(np.float64))
    soft = e / e.sum()
    weight = ops.array(np.arange(7.0)[None])
    first = ops.grad(lambda z: ops.log_sum_exp(z).sum(), x)
    np.testing.assert_allclose(ops.numpy(first), soft, rtol=1e-5, atol=1e-7)
    second = ops.grad(lambda z: (ops.grad(lambda y: ops.log_sum_exp(y).sum(), z) * weight).sum(), x)
    hessian = np.diag(soft[0]) - soft.T @ soft
    np.testing.assert_allclose(ops.numpy(second)[0], hessian @ np.arange(7.0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_log_sum_exp_hides_no_number_that_is_none(bad: float) -> None:
    x = np.zeros((1, 8), np.float32)
    x[0, 3] = bad
    assert not np.isfinite(ops.numpy(ops.log_sum_exp(ops.array(x)))).any()
