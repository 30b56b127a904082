"""The learners against closed forms on a quadratic; the sweep of `verify` holds them on networks."""

from typing import Any

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.protocols import Components
from mlx_melpa.initializers import KINDS as INITIALIZERS
from mlx_melpa.learners import KINDS
from mlx_melpa.regularizers import KINDS as REGULARIZERS
from mlx_melpa.rules import KINDS as RULES

STEPS, LR = 3, 0.1
RNG = np.random.default_rng(0)
CURVED = np.array([0.5, 1.0, 2.0, 4.0])
START, SUPPORT, QUERY = RNG.standard_normal(4), RNG.standard_normal((2, 4)), RNG.standard_normal((2, 4))
DECAY = (1 - LR * CURVED) ** STEPS
ADAPTED = SUPPORT + DECAY * (START - SUPPORT)
AT_END = CURVED * (ADAPTED - QUERY)


class Quadratic:
    """Losses 1/2 sum c (row - center)^2, so that K steps of descent have a closed form."""

    layout = Layout([Segment("row", (4,))])

    def losses(self, rows: Any, batch: Any, shared: Any) -> Any:
        away = rows - batch["center"]
        return 0.5 * (ops.array(CURVED) * away * away).sum(-1)


def batch(centers: np.ndarray) -> dict[str, Any]:
    return {"center": ops.array(centers), "weights": ops.ones((2, 1))}


def found(learner: str, rule: str, regularizer: str = "none", steps: int = STEPS) -> tuple[np.ndarray, Any]:
    problem: Any = Quadratic()
    rules = RULES[rule](ops, problem.layout, lr=LR, **({"steps": STEPS} if rule == "lslr" else {}))
    strength = {"strength": 0.3, "learn": True} if regularizer == "l2" else {}
    parts = Components(ops, problem, INITIALIZERS["universal"](ops), rules, REGULARIZERS[regularizer](ops, **strength))
    theta = {
        "initializer": {"start": ops.array(START)},
        "problem": {},
        "rule": rules.init(problem.layout),
        "regularizer": parts.regularizer.init(problem.layout),
    }
    losses, gradient = KINDS[learner](parts, steps=steps).meta_grad(theta, batch(SUPPORT), batch(QUERY))
    return ops.numpy(losses), ops.map_tree(ops.numpy, gradient)


@pytest.mark.parametrize("learner", [name for name in KINDS if name != "imaml"])  # which wants a regularizer
def test_query_losses_are_those_after_adapting(learner: str) -> None:
    losses, _ = found(learner, "sgd")
    np.testing.assert_allclose(losses, 0.5 * (CURVED * (ADAPTED - QUERY) ** 2).sum(-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("learner", "wanted"),
    [("maml", DECAY * AT_END), ("fomaml", AT_END), ("reptile", START - ADAPTED)],
)
def test_the_gradient_of_the_start(learner: str, wanted: np.ndarray) -> None:
    _, gradient = found(learner, "sgd")
    np.testing.assert_allclose(gradient["initializer"]["start"], wanted.sum(0), rtol=1e-4)


def test_the_gradient_of_metas_sgd_s_rates() -> None:
    # d adapted / d lr = -K c (1 - lr c)^(K-1) (start - support)
    slope = -STEPS * CURVED * (1 - LR * CURVED) ** (STEPS - 1) * (START - SUPPORT)
    _, gradient = found("maml", "meta_sgd")
    np.testing.assert_allclose(gradient["rule"]["lr"], (AT_END * slope).sum(0), rtol=1e-4)


def test_fomaml_trains_rates_by_the_gradients_of_the_way() -> None:
    inner = sum(CURVED * (1 - LR * CURVED) ** k * (START - SUPPORT) for k in range(STEPS))
    _, gradient = found("fomaml", "meta_sgd")
    np.testing.assert_allclose(gradient["rule"]["lr"], (-AT_END * inner).sum(0), rtol=1e-4)


def test_lslr_gives_each_step_its_own_gradient() -> None:
    per_step = [
        (-AT_END * (1 - LR * CURVED) ** (STEPS - 1 - k) * CURVED * (1 - LR * CURVED) ** k * (START - SUPPORT)).sum()
        for k in range(STEPS)
    ]
    _, gradient = found("maml", "lslr")
    np.testing.assert_allclose(gradient["rule"]["lr"][:, 0], per_step, rtol=1e-4)


def test_a_pull_to_the_start_shortens_the_way() -> None:
    s = 0.3
    rows = np.broadcast_to(START, (2, 4))
    for _ in range(STEPS):
        rows = rows - LR * (CURVED * (rows - SUPPORT) + s * (rows - START))
    losses, gradient = found("maml", "sgd", "l2")
    np.testing.assert_allclose(losses, 0.5 * (CURVED * (rows - QUERY) ** 2).sum(-1), rtol=1e-5)
    # d rows / d log s by the same recursion
    slope, at = np.zeros((2, 4)), np.broadcast_to(START, (2, 4))
    for _ in range(STEPS):
        slope = slope * (1 - LR * (CURVED + s)) - LR * s * (at - START)
        at = at - LR * (CURVED * (at - SUPPORT) + s * (at - START))
    np.testing.assert_allclose(
        gradient["regularizer"]["log_strength"], [(CURVED * (at - QUERY) * slope).sum()], rtol=1e-4
    )


@pytest.mark.parametrize("learner", ["maml", "fomaml"])
def test_no_steps_train_the_start_on_the_query(learner: str) -> None:
    _, gradient = found(learner, "meta_sgd", steps=0)
    np.testing.assert_allclose(gradient["initializer"]["start"], (CURVED * (START - QUERY)).sum(0), rtol=1e-5)
    assert not gradient["rule"]["lr"].any()
