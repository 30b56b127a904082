"""Derivatives nest as MLX's do, hold constant what is not asked about, and leave nothing behind."""

import weakref
from typing import Any

import numpy as np
import pytest
from toys import references as verify
from toys.parts import small

from mlx_melpa.config.build import engine
from mlx_melpa.learners import KINDS as LEARNERS

torch = pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")


def test_a_derivative_at_the_top_has_no_history(ops: Any) -> None:
    x = ops.array([1.0, 2.0])
    value, extra, grad = ops.value_and_grad(lambda t: ((t["x"] ** 3).sum(), t["x"] * 2), {"x": x})
    pulled = ops.vjp(lambda t: {"y": t * t}, x, {"y": ops.ones((2,))})
    for leaf in (value, extra, grad["x"], pulled, ops.grad(lambda t: (t * t).sum(), x)):
        assert leaf.grad_fn is None and not leaf.requires_grad
    assert ops.numpy(grad["x"]).tolist() == [3.0, 12.0] and ops.numpy(pulled).tolist() == [2.0, 4.0]


def test_a_derivative_within_a_derivative_and_what_a_closure_holds(ops: Any) -> None:
    x = ops.array([1.0, 2.0])

    def outer(t: Any) -> Any:
        inner = ops.grad(lambda y: (y**3 * t["scale"] + y * t["x"]).sum(), t["x"])  # 3 y^2 scale + x
        return inner.sum(), inner

    _, inner, grad = ops.value_and_grad(outer, {"x": x, "scale": ops.array(2.0)})
    assert ops.numpy(inner).tolist() == [7.0, 26.0]
    assert ops.numpy(grad["x"]).tolist() == [13.0, 25.0]  # 6 y scale + 1: the x beside y is no part of the inner one
    assert float(grad["scale"]) == 15.0


def test_what_is_not_reached_gets_zeros(ops: Any) -> None:
    at = {"a": ops.ones((2,)), "b": ops.ones((3,))}
    pulled = ops.vjp(lambda t: (t["a"] * 2, ops.ones((1,))), at, (ops.ones((2,)), ops.ones((1,))))
    assert ops.numpy(pulled["b"]).tolist() == [0, 0, 0]


class Held:
    """Counts the bytes of what a backward pass keeps, and their peak."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def pack(self, tensor: torch.Tensor) -> Any:
        class Kept:
            value = tensor

        kept, size = Kept(), tensor.numel() * tensor.element_size()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(kept, self._drop, size)
        return kept

    def _drop(self, size: int) -> None:
        self.now -= size


def kept_by(steps: int, learner: str | None) -> int:
    parts, theta, support, query = small("meta_sgd", {"lr": 0.05}, "none", {}, backend="torch")
    held = Held()
    with torch.autograd.graph.saved_tensors_hooks(held.pack, lambda kept: kept.value):
        if learner:
            LEARNERS[learner](parts, steps=steps).meta_grad(theta, support, query)
        else:
            verify.unrolled(parts, theta, support, query, steps)
    assert held.now == 0
    return held.peak


def test_memory_is_flat_in_the_number_of_steps() -> None:
    assert kept_by(12, "maml") == kept_by(3, "maml")
    assert kept_by(12, "fomaml") == kept_by(3, "fomaml")
    assert kept_by(12, None) > 3 * kept_by(3, None)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_outer_optimizers_step_as_those_of_mlx(kind: str, schedule: str) -> None:
    settings = {"adam": {"betas": [0.8, 0.9]}, "adamw": {"weight_decay": 0.1}, "sgd": {"momentum": 0.5}}[kind]
    rng = np.random.default_rng(0)
    start, slopes = rng.standard_normal(5), rng.standard_normal((6, 5))
    ends = []
    for name in ("mlx", "torch"):
        ops = engine(name)
        outer = ops.OuterOptimizer(kind, lr=0.1, schedule=schedule, warmup=2, steps=6, **settings)
        theta = {"a": {"b": ops.array(start)}}
        outer.begin(theta)
        for slope in slopes:
            gradient, _ = ops.clip({"a": {"b": ops.array(slope)}}, 1.5)
            theta = outer.apply(gradient, theta)
            ops.evaluate(theta, outer.state)
        ends.append(ops.numpy(theta["a"]["b"]))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5)


def test_an_optimizer_goes_on_from_its_saved_state(ops: Any, tmp_path: Any) -> None:
    def outer() -> Any:
        made = ops.OuterOptimizer("adam", lr=0.1, schedule="constant", warmup=0, steps=9)
        made.begin(theta)
        return made

    theta = {"w": ops.array([1.0, -2.0])}
    gradient = {"w": ops.array([0.3, 0.1])}
    first = outer()
    theta = first.apply(gradient, theta)
    ops.save(tmp_path / "state.safetensors", {"s": first.state}, {"note": "one"})
    second = outer()
    second.state = ops.load(tmp_path / "state.safetensors", {"s": second.state})["s"]
    assert ops.metadata(tmp_path / "state.safetensors") == {"note": "one"}
    assert torch.equal(first.apply(gradient, theta)["w"], second.apply(gradient, theta)["w"])
    with pytest.raises(KeyError, match="other"):
        ops.load(tmp_path / "state.safetensors", {"other": theta})
