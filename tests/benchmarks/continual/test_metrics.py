"""The numbers of a stream, on matrices made by hand."""

import numpy as np
import pytest

from mlx_melpa.benchmarks.continual import metrics

R = np.array([[0.9, 0.2, 0.1], [0.6, 0.8, 0.3], [0.5, 0.9, 0.7]])
UNTRAINED = np.array([0.1, 0.1, 0.25])
SINGLE = np.array([0.9, 0.7, 0.75])


def test_the_numbers_of_a_matrix_made_by_hand() -> None:
    found = metrics.measures(R, UNTRAINED, SINGLE)
    assert found["acc"] == pytest.approx((0.5 + 0.9 + 0.7) / 3)
    assert found["bwt"] == pytest.approx(((0.5 - 0.9) + (0.9 - 0.8)) / 2)
    assert found["forgetting"] == pytest.approx(((0.9 - 0.5) + (0.8 - 0.9)) / 2)
    knew = R.copy()
    knew[0, 1] = 1.0
    assert metrics.forgetting(knew) == found["forgetting"], "what was right before it was learned is not forgotten"
    assert found["learning_accuracy"] == pytest.approx((0.9 + 0.8 + 0.7) / 3)
    assert found["fwt_gem"] == pytest.approx(((0.2 - 0.1) + (0.3 - 0.25)) / 2)
    assert found["fwt_single"] == pytest.approx(((0.8 - 0.7) + (0.7 - 0.75)) / 2)


def test_forgetting_counts_from_the_best_and_bwt_from_the_first() -> None:
    r = np.array([[0.5, 0.1, 0.1], [0.9, 0.6, 0.1], [0.4, 0.6, 0.8]])
    assert metrics.bwt(r) == pytest.approx((0.4 - 0.5) / 2)
    assert metrics.forgetting(r) == pytest.approx((0.9 - 0.4) / 2)


def test_bits_per_byte_keep_their_size_and_differences_their_meaning() -> None:
    found = metrics.measures(R, UNTRAINED, SINGLE, sign=-1)
    assert found["acc"] == pytest.approx(0.7) and found["learning_accuracy"] == pytest.approx(0.8)
    assert found["bwt"] == pytest.approx(((0.9 - 0.5) + (0.8 - 0.9)) / 2), "fewer bits for task 0 at the end: better"
    # Task 0 was best, at 0.5, at the end; task 1 at 0.8 when it was learned.
    assert found["forgetting"] == pytest.approx(((0.5 - 0.6) + (0.9 - 0.8)) / 2)
    assert found["fwt_gem"] == pytest.approx(-((0.2 - 0.1) + (0.3 - 0.25)) / 2)
    assert found["fwt_single"] == pytest.approx(-((0.8 - 0.7) + (0.7 - 0.75)) / 2)


def test_nothing_forgotten_is_zero() -> None:
    r = np.tile([0.7, 0.8, 0.9], (3, 1))
    assert metrics.bwt(r) == metrics.forgetting(r) == 0


def test_all_at_once_has_an_accuracy_and_nothing_else() -> None:
    r = np.full((3, 3), np.nan)
    r[-1] = [0.6, 0.7, 0.8]
    found = metrics.measures(r, UNTRAINED, SINGLE)
    assert found["acc"] == pytest.approx(0.7)
    assert all(np.isnan(found[name]) for name in metrics.NAMES if name != "acc")


def test_one_task_has_no_transfer() -> None:
    found = metrics.measures(np.array([[0.8]]), np.array([0.5]), np.array([0.8]))
    assert found["acc"] == found["learning_accuracy"] == 0.8
    assert all(np.isnan(found[name]) for name in ("bwt", "forgetting", "fwt_gem", "fwt_single"))


def test_intervals_cross_seeds_and_orders() -> None:
    found = metrics.summary([[{"acc": 0.6, "bwt": float("nan")}, {"acc": 0.8, "bwt": 0.1}]])
    assert found["acc"]["mean"] == pytest.approx(0.7)
    assert found["acc"]["ci95"] == pytest.approx(12.706 * np.std([0.6, 0.8], ddof=1) / np.sqrt(2))
    assert found["bwt"] == {"mean": None, "ci95": None}
    assert metrics.summary([[{"acc": 0.6}]])["acc"]["ci95"] == 0
    alike = metrics.summary([[{"acc": seed}] * 5 for seed in (0.6, 0.7, 0.8)])["acc"]["ci95"]
    assert alike == pytest.approx(4.303 * 0.1 / np.sqrt(3)), "five orders that say the same are one draw of examples"
