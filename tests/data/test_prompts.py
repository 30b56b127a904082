"""The strength of a row scales the factor that an adapter's update is proportional to."""

import numpy as np
import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.core.layout import Layout
from mlx_melpa.core.sites import Site
from mlx_melpa.data.prompts import scale_rows
from mlx_melpa.errors import MelpaError


def layout(kind: str) -> Layout:
    return Layout(KINDS[kind]().segments(Site(0, "mlp", 3, 3)))


@pytest.mark.parametrize("kind", ["lora", "bottleneck", "full"])
def test_half_the_strength_halves_the_last_factor(kind: str) -> None:
    rows = np.ones((1, layout(kind).size))
    found = layout(kind).views(scale_rows(layout(kind), rows, 0.5)[0])
    last = {"lora": ["0.mlp.lora_b"], "bottleneck": ["0.mlp.up", "0.mlp.up_bias"], "full": ["0.mlp.delta"]}[kind]
    assert {name for name, values in found.items() if (values == 0.5).all()} == set(last)
    assert all((values == 1).all() for name, values in found.items() if name not in last)


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_what_stands_before_the_text_has_no_strength(kind: str) -> None:
    rows = np.ones((1, layout(kind).size))
    assert np.array_equal(scale_rows(layout(kind), rows, 1.0), rows)
    with pytest.raises(MelpaError, match="strength 0"):
        scale_rows(layout(kind), rows, 0.0)
