"""The update rules against NumPy, and a contract over all kinds."""

from typing import Any

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.rules import KINDS

LAYOUT = Layout([Segment("a", (2, 2)), Segment("b", (3,))])
RNG = np.random.default_rng(0)
START = RNG.standard_normal((2, 7)).astype(np.float32)
GRADS = RNG.standard_normal((4, 2, 7)).astype(np.float32)


def run(rule: Any, meta: Any, steps: int = 4, rows: np.ndarray = START, grads: np.ndarray = GRADS) -> np.ndarray:
    moved, memory = ops.array(rows), rule.begin(ops.array(rows))
    for k in range(steps):
        moved, memory = rule.step(meta, k, moved, ops.array(grads[k]), memory)
    return ops.numpy(moved)


def test_sgd_takes_the_sum_of_the_gradients() -> None:
    np.testing.assert_allclose(run(KINDS["sgd"](ops, LAYOUT, lr=0.3), {}), START - 0.3 * GRADS.sum(0), atol=1e-6)


def test_adam_agrees_with_numpy() -> None:
    lr, b1, b2, eps = 0.01, 0.8, 0.95, 1e-8
    x, m, v = START.astype(np.float64), np.zeros((2, 7)), np.zeros((2, 7))
    for k in range(4):
        g = GRADS[k].astype(np.float64)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        x = x - lr * (m / (1 - b1 ** (k + 1))) / (np.sqrt(v / (1 - b2 ** (k + 1))) + eps)
    np.testing.assert_allclose(run(KINDS["adam"](ops, LAYOUT, lr=lr, beta1=b1, beta2=b2), {}), x, atol=1e-6)


def test_adam_goes_on_from_its_memory_whatever_k_says() -> None:
    rule = KINDS["adam"](ops, LAYOUT, lr=0.01)
    rows, memory = ops.array(START), rule.begin(ops.array(START))
    for i, k in enumerate((0, 1, 0, 1)):  # two adaptations of two steps
        rows, memory = rule.step({}, k, rows, ops.array(GRADS[i]), memory)
    np.testing.assert_array_equal(ops.numpy(rows), run(rule, {}))


def test_adam_stands_still_and_keeps_a_derivative_where_a_gradient_is_zero() -> None:
    rule = KINDS["adam"](ops, LAYOUT, lr=0.01)
    zero = np.zeros((4, 2, 7), np.float32)
    np.testing.assert_array_equal(run(rule, {}, grads=zero), START)

    def moved(g: Any) -> Any:
        return rule.step({}, 0, ops.array(START), g, rule.begin(ops.array(START)))[0].sum()

    assert np.isfinite(ops.numpy(ops.grad(moved, ops.array(zero[0])))).all()


def test_meta_sgd_has_a_rate_for_every_number() -> None:
    rule = KINDS["meta_sgd"](ops, LAYOUT, lr=0.2)
    meta = rule.init(LAYOUT)
    np.testing.assert_allclose(ops.numpy(meta["lr"]), np.full(7, 0.2), rtol=1e-6)
    rates = np.linspace(-0.1, 0.5, 7).astype(np.float32)  # a negative rate is allowed: Meta-SGD learns directions
    np.testing.assert_allclose(run(rule, {"lr": ops.array(rates)}), START - rates * GRADS.sum(0), atol=1e-6)


def test_lslr_has_a_rate_for_every_weight_and_step_and_stays_at_the_last() -> None:
    rule = KINDS["lslr"](ops, LAYOUT, lr=0.1, steps=2)
    assert ops.numpy(rule.init(LAYOUT)["lr"]).shape == (2, 2)
    rates = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    wide = np.repeat(rates, [4, 3], axis=1)
    wanted = START - sum(wide[min(k, 1)] * GRADS[k] for k in range(4))
    np.testing.assert_allclose(run(rule, {"lr": ops.array(rates)}), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_moves_each_row_by_its_own_gradient_alone(kind: str) -> None:
    layout = Layout([Segment("0.q.lora_a", (2, 1)), Segment("0.q.lora_b", (1, 2)), Segment("b", (3,))])
    rule = KINDS[kind](ops, layout)
    meta = rule.init(layout)
    assert rule.learnable == bool(meta)
    both = run(rule, meta)
    for t in range(2):
        alone = run(rule, meta, rows=START[t : t + 1], grads=GRADS[:, t : t + 1])
        np.testing.assert_array_equal(both[t], alone[0])
    assert not np.allclose(both, START)
    memory = rule.begin(ops.array(START))
    assert all(leaf.shape[0] == 2 for _, leaf in ops.flatten(memory))
