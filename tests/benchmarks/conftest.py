"""What tests of benchmarks share: a small recipe on the smallest base."""

from pathlib import Path
from typing import Any

import pytest

from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import recipe_of


@pytest.fixture(scope="module")
def setup(shared: Path) -> Setup:
    tree: dict[str, Any] = {
        "model": str(shared / "models" / "stories260k"),
        "adapter": {"kind": "lora", "rank": 2, "sites": ["v_proj"], "layers": 1},
        "tasks": {"kind": "synthetic", "ways": 2},
        "readout": {"kind": "prototypes", "metric": "plain"},
        "rule": {"kind": "meta_sgd", "lr": 0.1},
        "learner": {"kind": "maml", "steps": 3},
        "train": {"stream": 1},
    }
    return compose(recipe_of(tree, "small"))
