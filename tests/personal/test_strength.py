"""The strength of a row: what an adapter's update is proportional to is scaled, and a soft prompt has none."""

import numpy as np
import pytest

from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.data.prompts import weakened
from mlx_melpa.errors import MelpaError


def test_half_the_strength_is_half_the_update_of_every_adapter() -> None:
    layout = Layout([Segment("x.lora_a", (2,)), Segment("x.lora_b", (2,)), Segment("y.delta", (2,))])
    assert weakened(layout, np.ones((1, 6)), 0.5).tolist() == [[1, 1, 0.5, 0.5, 0.5, 0.5]]


def test_a_soft_prompt_stands_there_or_not() -> None:
    layout = Layout([Segment("embedding.prompt", (3, 2))])
    assert weakened(layout, np.ones((1, 6)), 1.0).tolist() == [[1.0] * 6]
    with pytest.raises(MelpaError, match="soft prompt has none"):
        weakened(layout, np.ones((1, 6)), 0.0)


def test_a_prefix_stands_there_or_not() -> None:
    layout = Layout([Segment("0.cache.keys", (3, 2)), Segment("0.cache.values", (3, 2))])
    assert weakened(layout, np.ones((1, 12)), 1.0).tolist() == [[1.0] * 12]
    with pytest.raises(MelpaError, match="a prefix has none"):
        weakened(layout, np.ones((1, 12)), 0.5)
