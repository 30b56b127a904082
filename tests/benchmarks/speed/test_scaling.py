"""Growth of time and memory, and of the store, short."""

from pathlib import Path

import pytest

from mlx_melpa.benchmarks.speed.scaling import SWEPT, draw, exponent, measure
from mlx_melpa.benchmarks.speed.settings import Settings


def test_an_exponent_is_the_slope_of_logarithms() -> None:
    assert exponent([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)]) == pytest.approx(1.5)


def test_the_short_form(tmp_path: Path) -> None:
    found = measure(Settings(repeats=1, short=True), lambda *_: None)
    assert set(found) == {*SWEPT, "store"}
    assert found["steps"]["at"] == [1, 2]
    assert found["rank"]["over"] == "parameters"
    assert found["rank"]["at"][1] == 2 * found["rank"]["at"][0]
    assert found["tasks"]["bytes"][1] > found["tasks"]["bytes"][0] > 0
    assert found["store"]["people_20"]["disk"]["versions"] == 120
    assert found["store"]["people_20"]["read"]["value"] > 0
    pytest.importorskip("matplotlib")
    draw(found, tmp_path)
    assert (tmp_path / "growth.png").stat().st_size > 10_000
