"""Curves on fixed episodes, intervals, and who was harmed."""

import numpy as np
import pytest
from toys.parts import small

from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.evaluation import curves
from mlx_melpa.tasks.sinusoid import sinusoid

PARTS, THETA, _, _ = small("sgd", {"lr": 0.05}, "none", {})
DRAWN = curves.episodes(sinusoid(shots=4, queries=3).test, 5, seed=2)


def test_one_seed_gives_the_same_episodes_and_a_longer_list_begins_with_the_shorter() -> None:
    again = curves.episodes(sinusoid(shots=4, queries=3).test, 7, seed=2)
    for a, b in zip(DRAWN, again, strict=False):
        np.testing.assert_array_equal(a.x_support, b.x_support)
    other = curves.episodes(sinusoid(shots=4, queries=3).test, 1, seed=3)
    assert not np.array_equal(other[0].x_support, DRAWN[0].x_support)


def test_curves_are_the_query_losses_after_each_step_however_passes_are_cut() -> None:
    measured = curves.curves(PARTS, THETA, DRAWN, range(4), tasks_per_pass=2)
    found = measured.curves
    assert found["loss"].shape == (4, 5) and (measured.steps, measured.episodes) == ((0, 1, 2, 3), 5)
    assert measured.seconds > 0
    for e, episode in enumerate(DRAWN):
        support, query = PARTS.problem.prepare([episode])
        for k in range(4):
            rows = adapt.adapt(PARTS, THETA, support, k)["rows"]
            assert found["loss"][k, e] == pytest.approx(
                float(PARTS.problem.losses(rows, query, THETA["problem"]).item()), rel=1e-5
            )
    some = curves.curves(PARTS, THETA, DRAWN, [0, 3], tasks_per_pass=5).curves
    np.testing.assert_allclose(some["loss"], found["loss"][[0, 3]], rtol=1e-5)


def test_the_interval_is_196_standard_errors() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0])
    assert curves.interval(values) == pytest.approx(1.96 * np.sqrt(1 / 3) / 2)
    assert curves.interval(values[:1]) == 0.0
    told = curves.summary({"accuracy": values, "loss": 2 * values}, "accuracy")
    assert told == {"accuracy": 0.5, "loss": 1.0, "ci95": curves.interval(values)}


def test_harm_counts_tasks_made_worse_and_the_worst_of_them() -> None:
    before = {"accuracy": np.full(40, 0.5), "loss": np.full(40, 1.0)}
    after = {"accuracy": np.concatenate([[0.1, 0.3], np.full(38, 0.9)]), "loss": np.full(40, 1.0)}
    assert curves.harm(after, before, "accuracy") == {
        "worse_than_base": pytest.approx(2 / 40),
        "worst_5_percent": pytest.approx(0.2),
    }
    after["loss"][:4] = [9.0, 7.0, 3.0, 2.0]
    assert curves.harm(after, before, "loss") == {"worse_than_base": 0.1, "worst_5_percent": 8.0}


def test_what_is_better_depends_on_the_measure() -> None:
    assert curves.main_measure(["loss", "f1", "accuracy"]) == "accuracy"
    assert curves.main_measure(["loss", "perplexity", "bits_per_byte"]) == "bits_per_byte"
    assert curves.better(0.9, 0.8, "accuracy")
    assert curves.better(0.8, 0.9, "bits_per_byte")
