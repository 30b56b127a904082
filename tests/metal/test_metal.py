"""What only a Mac can show: second order, resume, memory and speed on Metal. Run by `make metal`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlx_melpa.adapters import lora
from mlx_melpa.backends.mlx import model, ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Components
from mlx_melpa.initializers import universal
from mlx_melpa.learners import fomaml, maml
from mlx_melpa.pocket.fit import Plan, Size, Training
from mlx_melpa.readouts.ridge import inverse
from mlx_melpa.regularizers import none
from mlx_melpa.rules import sgd

pytestmark = [
    pytest.mark.metal,
    pytest.mark.skipif(not mx.metal.is_available(), reason="needs a Mac with Metal"),
]

KERNELS: dict[str, Callable[[mx.array], mx.array]] = {
    "attention": lambda x: mx.fast.scaled_dot_product_attention(x, x[:, :2], x[:, 2:], scale=0.125, mask="causal"),
    "rope": lambda x: mx.fast.rope(x, 64, traditional=False, base=10000.0, scale=1.0, offset=0),
    "rms_norm": lambda x: mx.fast.rms_norm(x, x[0, 0, 0], 1e-5),
}


@contextmanager
def the_cpu() -> Iterator[None]:
    """Computes on the CPU, without `mx.compile`, which would need a C++ compiler there."""
    mx.disable_compile()
    try:
        with mx.stream(mx.cpu):
            yield
    finally:
        mx.enable_compile()


def second_order(kernel: Callable[[mx.array], mx.array], x: mx.array, v: mx.array) -> np.ndarray:
    """The Hessian of sum(kernel(x)^3) times v: a vjp of a vjp."""
    gradient = mx.grad(lambda at: (kernel(at) ** 3).sum())
    return np.array(mx.grad(lambda at: (gradient(at) * v).sum())(x))


@pytest.mark.parametrize("length", [1, 37, 128])
@pytest.mark.parametrize("name", KERNELS)
def test_second_order_through_a_fast_kernel_equals_the_cpus(name, length):
    x, v = mx.random.normal((2, 2, 4, length, 64), key=mx.random.key(0))
    on_gpu = second_order(KERNELS[name], x, v)
    with the_cpu():
        on_cpu = second_order(KERNELS[name], x, v)
    assert np.abs(on_cpu).max() > 0.1
    assert np.linalg.norm(on_gpu - on_cpu) < 1e-3 * np.linalg.norm(on_cpu)


@pytest.mark.parametrize("count", [20, 300])
def test_an_inverse_by_products_alone_equals_numpys(count):
    """Ridge regression's matrix, where products of less than float32's precision would show."""
    u = np.random.default_rng(0).standard_normal((2, count, 64))
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    a = u @ np.swapaxes(u, 1, 2) + 0.3 * np.eye(count)
    found = np.array(inverse(ops, mx.array(a.astype(np.float32))))
    assert np.abs(found - np.linalg.inv(a)).max() < 1e-3


class NextToken:
    """Predicting the next token of (T, L) sequences with LoRA on the embedded base."""

    def __init__(self) -> None:
        base = model.load("pocket")
        base.model.set_dtype(mx.float32)
        self.adapted = Adapted(base, lora(rank=4, sites=["q_proj", "v_proj"]))
        self.layout = self.adapted.layout

    def losses(self, rows: mx.array, batch: Any) -> mx.array:
        """Mean losses (T,) in nats."""
        tasks, length = batch["tokens"].shape
        logits = self.adapted.logits(rows, batch["tokens"], mx.arange(tasks * length)).reshape(tasks, length, -1)
        return nn.losses.cross_entropy(logits[:, :-1], batch["tokens"][:, 1:]).mean(-1)


@pytest.fixture(scope="module")
def parts() -> Components:
    """Plain gradient descent on the embedded base."""
    problem = NextToken()
    return Components(ops, problem, universal(ops), sgd(ops, problem.layout, lr=0.05), none(ops))


@pytest.fixture(scope="module")
def theta(parts: Components) -> Any:
    """A start with no zeros, so that every weight has a gradient."""
    start = 0.02 * np.random.default_rng(0).standard_normal(parts.problem.layout.size)
    return {"initializer": {"start": ops.array(start)}, "rule": {}, "regularizer": {}}


def batch(seed: int, length: int = 64) -> dict[str, mx.array]:
    """Two tasks of one sequence each."""
    tokens = np.random.default_rng(seed).integers(4, 6144, (2, length))
    return {"tokens": ops.array(tokens), "weights": ops.array(np.ones((2, 1), np.float32))}


def meta_gradient(learner: Any, theta: Any) -> np.ndarray:
    """The gradient (P,) over the initializer."""
    return np.array(learner.meta_grad(theta, batch(1), batch(2))[1]["initializer"]["start"])


@pytest.mark.parametrize("build", [maml, fomaml])
def test_a_meta_gradient_equals_the_cpus(build, parts, theta):
    on_gpu = meta_gradient(build(parts, steps=3), theta)
    with the_cpu():
        on_cpu = meta_gradient(build(parts, steps=3), theta)
    assert np.linalg.norm(on_gpu - on_cpu) < 0.01 * np.linalg.norm(on_cpu)


def test_the_exact_gradient_is_not_the_first_order_one(parts, theta):
    exact, first = (meta_gradient(build(parts, steps=3), theta) for build in (maml, fomaml))
    assert np.linalg.norm(exact - first) > 1e-3 * np.linalg.norm(exact)


def test_the_memory_of_maml_is_flat_in_the_number_of_steps(parts, theta):
    peaks = []
    for steps in (5, 20):
        mx.clear_cache()
        mx.reset_peak_memory()
        meta_gradient(maml(parts, steps=steps), theta)
        peaks.append(mx.get_peak_memory())
    rows = 2 * 15 * 2 * parts.problem.layout.size * 4
    assert peaks[1] - peaks[0] < rows + 16e6


def test_a_long_inner_loop_is_not_stopped_by_the_watchdog(parts, theta):
    state = adapt.adapt(parts, theta, batch(1, length=256), 200)
    assert bool(mx.isfinite(state["rows"]).all())


def test_ten_steps_take_less_than_three_seconds(parts, theta):
    start = time.perf_counter()
    ops.evaluate(adapt.adapt(parts, theta, batch(1), 10))
    assert time.perf_counter() - start < 3


def test_a_resumed_training_is_bit_identical(tmp_path):
    plan = Plan(steps=20, batch=8, warmup=2, every=10)
    ids = np.random.default_rng(0).integers(0, 6144, 20_000).astype(np.uint16)
    whole, broken = Training(Size(), plan), Training(Size(), plan)
    list(whole.run(ids))
    next(broken.run(ids))
    broken.save(tmp_path / "checkpoint.safetensors")
    resumed = Training(Size(), plan)
    resumed.resume(tmp_path / "checkpoint.safetensors")
    list(resumed.run(ids))
    pairs = zip(ops.flatten(whole.weights), ops.flatten(resumed.weights), strict=True)
    assert [name for (name, a), (_, b) in pairs if not mx.array_equal(a, b)] == []


def test_an_array_that_is_too_large_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        mx.eval(mx.random.normal((1 << 22, 1 << 20)))
    assert ops.out_of_memory(caught.value)
