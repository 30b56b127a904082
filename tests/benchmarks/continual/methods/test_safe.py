"""SAFE: what stays, what is learned from whom, and who answers."""

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest

from mlx_melpa.benchmarks.continual.methods.method import EncodedTask, Method, State
from mlx_melpa.benchmarks.continual.methods.safe import Safe, entropy_ensemble


@pytest.fixture
def method(built: Callable[..., Method]) -> Safe:
    found = built("safe")
    assert isinstance(found, Safe)
    return found


@pytest.fixture
def states(method: Safe, encoded: list[EncodedTask]) -> list[State]:
    first = method.learn(method.begin(), encoded[:1])
    return [first, method.learn(first, encoded[1:2])]


def test_the_surer_answer_weighs_more() -> None:
    sure, unsure = [0.9, 0.1], [0.5, 0.5]
    a = exp(0.9 * log(0.9) + 0.1 * log(0.1))
    found = entropy_ensemble(np.array([[sure, unsure], [unsure, sure]]))
    assert found == pytest.approx(np.array([[(a * 0.9 + 0.25) / (a + 0.5), (a * 0.1 + 0.25) / (a + 0.5)]] * 2))
    assert entropy_ensemble(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])) == pytest.approx(np.array([[0.5, 0.5]]))


def test_the_slow_row_is_the_first_tasks_and_the_fast_one_goes_on_from_it(method: Safe, states: list[State]) -> None:
    first, second = (method.ops.numpy(state.rows) for state in states)
    assert first.shape == second.shape and first.shape[0] == 2
    assert np.array_equal(first[0], first[1]) and np.array_equal(second[0], first[0])
    assert np.abs(second[1] - first[1]).max() > 1e-3


def test_the_fast_row_learns_the_slow_ones_answers_among_a_tasks_labels(
    method: Safe, states: list[State], encoded: list[EncodedTask]
) -> None:
    after, ops, (pets, food, sky) = states[1], method.ops, encoded[:3]
    seen = set()
    for seed in range(20):
        (_, now), (strength, soft) = method.batches(after, sky, np.random.default_rng(seed))
        assert now is sky.support and strength == method.strength
        seen.add(id(soft))
    assert len(seen) == 3
    for one in (pets, sky):
        means = method.class_means(after.rows[:1], one)
        asked = {**method.problem.ask(sky.task.train, one.task.labels), **method.as_memory(means)}
        wanted = ops.numpy(method.problem.predict(after.rows[:1], asked, method.shared))
        assert ops.numpy(method.distillation(after, sky, one.task.name)["onehot"]) == pytest.approx(wanted, abs=1e-5)
    soft = method.distillation(after, sky, food.task.name)
    here, there = (
        np.linalg.norm(ops.numpy(ops.grad(lambda rows: method.problem.losses(rows, soft, method.shared).sum(), row)))
        for row in (after.rows[:1], after.rows[1:])
    )
    assert here < 0.05 * there


def test_both_rows_answer_with_their_own_class_means(
    method: Safe, states: list[State], encoded: list[EncodedTask]
) -> None:
    after, ops, asked = states[1], method.ops, encoded[1]
    each = []
    for r in range(2):
        row = after.rows[r : r + 1]
        means = method.as_memory(method.class_means(row, asked))
        each.append(ops.numpy(method.problem.predict(row, {**asked.test, **means}, method.shared))[0])
    assert ops.numpy(method.predict(after, asked))[0] == pytest.approx(entropy_ensemble(np.stack(each)), abs=1e-5)
    assert method.trained_parameters() == 2 * method.start.layout.size
    kept = after.means[asked.task.name]
    more = 2 * (kept["means"].nbytes + kept["slow"].nbytes + kept["counts"].nbytes) if kept else 0
    assert method.nbytes(after) == 2 * method.trained_parameters() + more
