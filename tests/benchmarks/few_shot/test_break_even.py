"""When meta-training has paid for itself, by hand."""

import pytest

from mlx_melpa.benchmarks.few_shot.break_even import break_even, fewer_steps, over_tasks, rows


def test_break_even_counts_the_search() -> None:
    start = {"tuning": 40.0, "costs": {"seconds": 3.0}}
    assert break_even({"training": 100.0, "seconds": 1.0}, start) == 30  # 100 + 30 = 40 + 90
    assert break_even({"training": 100.0, "seconds": 3.0}, start) is None
    assert break_even({"training": 100.0, "tuning": 20.0, "seconds": 1.0}, start) == 40
    assert break_even({"training": 30.0, "seconds": 1.0}, start) == 0
    assert break_even({"training": 30.0, "seconds": 5.0}, start) is None  # ahead at first, and behind for good


def test_five_times_cheaper_is_five_times_less_in_all() -> None:
    start = {"tuning": 40.0, "costs": {"seconds": 7.0}}
    entry = {"training": 100.0, "seconds": 1.0}
    found = break_even(entry, start, 5)
    assert found == 230  # 5 (100 + 230) = 40 + 7 * 230
    assert break_even(entry, {**start, "costs": {"seconds": 5.0}}, 5) is None  # cheaper, but never so much
    assert break_even({**entry, "training": 4.0}, start, 5) == 0


def test_what_is_spent_once_is_shared_over_the_tasks() -> None:
    found = over_tasks({"training": 100.0, "tuning": 20.0, "seconds": 0.5}, {}, None, "accuracy", 1)
    assert found == {"amortised": {"1": 120.5, "10": 12.5, "50": 2.9, "100": 1.7, "1000": 0.62}}
    alone = over_tasks({"training": None, "tuning": 20.0, "seconds": 0.5}, {}, None, "accuracy", 1)
    assert alone["amortised"]["10"] == 2.5


@pytest.mark.parametrize(
    ("ours", "wanted"),
    [
        ([0.5, 0.6, 0.8], (2, 5.0)),
        ([0.5, 0.7, 0.6], (1, 10.0)),  # as good is enough
        ([0.75, 0.8, 0.9], (0, None)),
        ([0.5, 0.6, 0.69], (None, None)),
    ],
)
def test_steps_to_what_the_random_start_has_at_its_best(ours: list[float], wanted: tuple[int, float]) -> None:
    start = {"steps": [0, 1, 10, 30], "accuracy": [0.2, 0.4, 0.72, 0.7]}  # it is there before its best on validation
    found = fewer_steps({"steps": [0, 1, 2], "accuracy": ours}, start, "accuracy", 1)
    assert found == {"target": 0.7, "theirs": 10, "ours": wanted[0], "ratio": wanted[1]}


def test_fewer_bits_are_better_and_a_start_may_have_nothing_to_gain() -> None:
    start = {"steps": [0, 10], "bits_per_byte": [2.0, 1.5]}
    curve = {"steps": [0, 1, 2], "bits_per_byte": [1.9, 1.6, 1.4]}
    assert fewer_steps(curve, start, "bits_per_byte", -1)["ratio"] == 5
    harmed = {"steps": [0, 1], "bits_per_byte": [1.5, 1.7]}
    assert fewer_steps(curve, harmed, "bits_per_byte", -1) == {"target": 1.7, "theirs": 0, "ours": 1, "ratio": None}


def test_the_table_says_at_once_never_and_not_reached() -> None:
    start = {"tuning": 40.0, "costs": {"seconds": 3.0}, "curve": {"steps": [0, 10], "accuracy": [0.2, 0.7]}}
    entry = {"training": 100.0, "seconds": 1.0}
    curves = {"quick": [0.7, 0.9], "slow": [0.1, 0.2], "mean": [0.5, 0.8]}
    methods = {
        name: {"shots": {"5": over_tasks(entry, {"steps": [0, 2], "accuracy": values}, start, "accuracy", 1)}}
        for name, values in curves.items()
    }
    columns, lines = rows({"base": {"shots": {"5": {}}}, **methods})
    assert [line[0] for line in lines] == ["quick", "slow", "mean"] and {len(line) for line in lines} == {len(columns)}
    assert lines[0] == ["quick", "5", "101", "11", "3", "2", "1.1", "30", "never", "0 (its own: 10)", "at once"]
    assert lines[1][-2:] == ["not reached (its own: 10)", ""] and lines[2][-2:] == ["2 (its own: 10)", "5"]
