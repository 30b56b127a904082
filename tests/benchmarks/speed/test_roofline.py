"""The inner step beside the matrix product rate, short."""

from pathlib import Path

import pytest

from mlx_melpa.benchmarks.speed.roofline import LARGE, measure
from mlx_melpa.benchmarks.speed.settings import Settings


def test_the_short_form(shared: Path) -> None:
    found = measure(Settings(str(shared / "models" / "stories260k"), repeats=1, short=True), lambda *_: None)
    base = found["base"]
    assert base["rate"]["value"] == pytest.approx(base["flops"]["value"] / (base["step"]["value"] / 1e3))
    assert 0 < found["share"]["value"] == base["share"]["value"] < 100
    assert {"products", "activations", "softmax of attention", "sums over the vocabulary"} < set(base["spent"])


def test_the_larger_llama_has_sixty_million_weights() -> None:
    each = 4 * LARGE.width**2 + 3 * LARGE.width * LARGE.feed_forward
    assert abs(LARGE.layers * each + LARGE.vocabulary * LARGE.width - 61e6) < 1e6
