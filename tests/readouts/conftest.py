"""Problems for the tests of readouts."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mlx_melpa.core.layout import Layout
from mlx_melpa.problems.language import Language


@pytest.fixture(scope="session")
def unshared() -> Callable[[Language], Language]:
    """Makes a problem whose rows hold all weights, those of the metric among them."""

    def make(problem: Language) -> Language:
        segments = problem.acting_layout.segments
        return problem.with_layout(Layout(replace(segment, shared=False) for segment in segments))

    return make
