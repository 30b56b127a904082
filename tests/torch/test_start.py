"""What a hypernetwork reads and writes, and how hard an episode is, are the same on both engines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlx_melpa.config.build import engine
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Components
from mlx_melpa.initializers import KINDS
from mlx_melpa.problems import KINDS as PROBLEMS
from mlx_melpa.readouts import KINDS as READOUTS
from mlx_melpa.regularizers import KINDS as REGULARIZERS
from mlx_melpa.rules import KINDS as RULES
from mlx_melpa.tasks.synthetic import synthetic
from mlx_melpa.training.difficulty import difficulty

pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
pytest.importorskip("transformers", reason="pip install 'mlx-melpa[torch]'")


@pytest.mark.parametrize("layers", [1, "all"])
@pytest.mark.parametrize("readout", ["prototypes", "labels", "completion"])
def test_rows_and_difficulties_agree(put: Callable[..., Any], bases: dict[str, Any], layers: Any, readout: str) -> None:
    variant = "style" if readout == "completion" else "people"
    tasks = synthetic(variant=variant, ways=2, shots=3, queries=2).train
    episodes = [tasks.episode(np.random.default_rng(i)) for i in range(2)]
    found = []
    for name in ("mlx", "torch"):
        ops = engine(name)
        problem = PROBLEMS["language"](
            ops, put(name, rank=2, layers=layers), READOUTS[readout](ops, bases[name].tokenizer)
        )
        maker = KINDS["hypernetwork"](ops, problem, form="chunked", embedding=16, hidden=8, chunk=100)
        parts = Components(ops, problem, maker, RULES["sgd"](ops, problem.layout), REGULARIZERS["none"](ops))
        rng = np.random.default_rng(0)
        row, common = problem.init(rng)
        start = maker.init(rng, row)
        meta = ops.map_tree(lambda x, o=ops, r=rng: x + o.array(0.1 * r.standard_normal(tuple(x.shape))), start)
        theta = {"initializer": meta, "problem": common, "rule": {}, "regularizer": {}}
        rows = ops.numpy(adapt.begin(parts, theta, problem.support(episodes))["rows"])
        hard = [difficulty(parts, theta, episodes, by) for by in ("entropy", "loss")]
        found.append((rows, *hard))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, rtol=2e-3, atol=1e-4)
    assert np.abs(found[0][0][0] - found[0][0][1]).max() > 1e-3
