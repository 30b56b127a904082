"""Regression against NumPy; rows of several tasks against one at a time."""

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.problems.language import classified
from mlx_melpa.problems.regression import regression
from mlx_melpa.tasks.sinusoid import sinusoid

ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_regression_agrees_with_numpy(activation: str) -> None:
    problem = regression(ops, hidden=[7, 5], activation=activation)  # type: ignore[arg-type]
    assert problem.layout.size == (1 * 7 + 7) + (7 * 5 + 5) + (5 * 1 + 1)
    tasks = sinusoid(shots=4, queries=6).train
    episodes = [tasks.episode(np.random.default_rng(i)) for i in range(3)]
    _, query = problem.prepare(episodes)
    rows = np.stack([problem.layout.draw(np.random.default_rng(10 + i)) for i in range(3)])
    found = ops.numpy(problem.losses(ops.array(rows), query, {}))
    for row, episode, loss in zip(rows, episodes, found, strict=True):
        w, h = problem.layout.views(row), episode.x_query.astype(np.float64)
        for i in range(3):
            h = h @ w[f"{i}.weight"] + w[f"{i}.bias"]
            h = ACTIVATIONS[activation](h) if i < 2 else h
        assert loss == pytest.approx(((h - episode.y_query) ** 2).mean(), rel=1e-5)
    assert problem.measure(ops.array(rows), query, {})["loss"] == pytest.approx(found)


def test_three_tasks_in_one_pass_equal_three_passes_and_gradients_do_not_mix() -> None:
    problem = regression(ops, hidden=[6])
    tasks = sinusoid(shots=4, queries=6).train
    episodes = [tasks.episode(np.random.default_rng(i)) for i in range(3)]
    rows = np.stack([problem.layout.draw(np.random.default_rng(i)) for i in range(3)])
    support, _ = problem.prepare(episodes)
    together = ops.numpy(problem.losses(ops.array(rows), support, {}))
    grads = ops.numpy(ops.grad(lambda r: problem.losses(r, support, {}).sum(), ops.array(rows)))
    for t in range(3):
        one, _ = problem.prepare(episodes[t : t + 1])
        row = ops.array(rows[t : t + 1])
        assert float(problem.losses(row, one, {}).item()) == pytest.approx(together[t], rel=1e-6)
        alone = ops.numpy(ops.grad(lambda r, one=one: problem.losses(r, one, {}).sum(), row))
        np.testing.assert_allclose(grads[t], alone[0], atol=1e-5)


def test_classified_counts_scored_examples_alone() -> None:
    p = np.array([[[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05]]])
    onehot = np.array([[[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]], float)
    found = classified(p, onehot, np.array([[1.0, 1, 1, 0]]))
    assert found["accuracy"][0] == pytest.approx(2 / 3)
    assert found["loss"][0] == pytest.approx(-np.log([0.7, 0.3, 0.8]).mean())
    # class 0: said twice, true once, right once; class 1: said once, true twice, right once; class 2 does not occur
    assert found["f1"][0] == pytest.approx((2 / 3 + 2 / 3) / 2)
