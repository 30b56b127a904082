"""The map of a row: offsets, views, draws, JSON."""

import numpy as np
import pytest

from mlx_melpa.core.layout import Layout, Segment

LAYOUT = Layout([Segment("a", (2, 3), 0.5), Segment("b", (4,)), Segment("s", (1,), ("constant", 2.5))])


def test_offsets_follow_the_sizes() -> None:
    assert LAYOUT.size == 11
    assert LAYOUT.offsets == (0, 6, 10, 11)


def test_a_row_is_divided_into_own_and_shared_numbers() -> None:
    layout = Layout([Segment("a", (2,)), Segment("m", (2, 2), ("identity", 3.0), shared=True), Segment("s", (1,))])
    own, shared = layout.divide(np.arange(7.0))
    assert own.tolist() == [0, 1, 6] and shared.tolist() == [2, 3, 4, 5]
    assert layout.divide(np.zeros((4, 7)))[1].shape == (4, 4)
    assert [s.name for s in layout.personal.segments] == ["a", "s"] and layout.shared.size == 4
    assert Layout.from_json(layout.to_json()) == layout and LAYOUT.shared.size == 0


def test_views_and_row_are_inverse() -> None:
    row = np.arange(11, dtype=np.float32)
    views = LAYOUT.views(row)
    assert views["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert views["s"].tolist() == [10]
    assert LAYOUT.row(views).tolist() == row.tolist()


def test_a_random_start_lies_in_its_bounds_and_repeats() -> None:
    wide = Layout([Segment("a", (100, 100), 0.5), *LAYOUT.segments[1:]])
    drawn = wide.draw(np.random.default_rng(0))
    assert drawn.dtype == np.float32
    a = drawn[:10_000]
    assert (abs(a).max() <= 0.5, abs(a).max() > 0.49) == (True, True)
    assert a.std() == pytest.approx(0.5 / 3**0.5, rel=0.02)
    assert drawn[10_000:].tolist() == [0, 0, 0, 0, 2.5]
    assert (drawn == wide.draw(np.random.default_rng(0))).all()
    assert Layout([]).draw(np.random.default_rng(0)).shape == (0,)


def test_json_brings_back_the_same_layout() -> None:
    again = Layout.from_json(LAYOUT.to_json())
    assert again == LAYOUT
    assert hash(again) == hash(LAYOUT)
    assert again.draw(np.random.default_rng(1)).tolist() == LAYOUT.draw(np.random.default_rng(1)).tolist()
    assert LAYOUT + Layout([]) == LAYOUT
    assert (Layout(LAYOUT.segments[:1]) + Layout(LAYOUT.segments[1:])) == LAYOUT


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(11,\), not \(10,\)"):
        LAYOUT.views(np.zeros(10))
    with pytest.raises(ValueError, match="weight 'b' is missing, expected shape"):
        LAYOUT.row({"a": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"weight 'a' has shape \(3, 2\)"):
        LAYOUT.row({"a": np.zeros((3, 2)), "b": np.zeros(4), "s": np.zeros(1)})
