"""Problems for the tests of readouts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_melpa.adapters.lora import lora
from mlx_melpa.backends.mlx import model
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.core.layout import Layout
from mlx_melpa.problems.language import Language


@pytest.fixture(scope="session")
def unshared() -> Callable[[Language], Language]:
    """Makes a problem whose rows hold all weights, those of the metric among them."""

    def make(problem: Language) -> Language:
        segments = problem.acting_layout.segments
        return problem.with_layout(Layout(replace(segment, shared=False) for segment in segments))

    return make


@pytest.fixture(scope="module")
def stories(shared: Path) -> Adapted:
    base = model.load(str(shared / "models" / "stories260k"))
    return Adapted(base, lora(rank=2, sites=["q_proj", "v_proj"], layers=2))


@pytest.fixture(scope="module")
def plain(shared: Path) -> Any:
    """The same model as mlx-lm loads it, in float32: tokens to log-probabilities (L, V)."""
    import mlx.core as mx
    import mlx_lm

    loaded = mlx_lm.load(str(shared / "models" / "stories260k"))[0]
    loaded.set_dtype(mx.float32)

    def forward(tokens: Any) -> np.ndarray:
        logits = np.array(loaded(mx.array([list(tokens)])))[0].astype(np.float64)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    return forward
