"""Implicit MAML against the exact solution of a quadratic problem, a dense solve, and finite differences."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import references as verify
from toys.parts import small

from mlx_melpa.config.build import compose, engine
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.protocols import Components
from mlx_melpa.errors import RecipeError
from mlx_melpa.initializers.universal import universal
from mlx_melpa.learners.conjugate_gradients import solve
from mlx_melpa.learners.imaml import imaml
from mlx_melpa.regularizers.ewc import ewc
from mlx_melpa.regularizers.l2 import l2
from mlx_melpa.regularizers.none import none
from mlx_melpa.rules.sgd import sgd
from mlx_melpa.training.outer_loop import OuterLoop

SIZE, TASKS, STRENGTH = 6, 3, 0.7
RNG = np.random.default_rng(0)
ROOT = RNG.standard_normal((SIZE, SIZE)) / SIZE**0.5
CURVED = ROOT @ ROOT.T
START, SUPPORT, QUERY = (RNG.standard_normal(shape) for shape in (SIZE, (TASKS, SIZE), (TASKS, SIZE)))


@pytest.fixture(params=["mlx", "torch"])
def ops(request: pytest.FixtureRequest) -> Any:
    if request.param == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    return engine(request.param)


class Quadratic:
    """Losses 1/2 (row - center)' C (row - center); the last two numbers are shared by all tasks where that is asked."""

    def __init__(self, ops: Any, shared: int = 0):
        self.ops, self.layout = ops, Layout([Segment("own", (SIZE - shared,))])

    def losses(self, rows: Any, batch: Any, shared: Any) -> Any:
        ops = self.ops
        rest = [ops.broadcast(shared["shared"].reshape(1, -1), (TASKS, 2))] if shared else []
        away = ops.concatenate([rows, *rest], 1) - batch["center"]
        return 0.5 * ((away @ ops.array(CURVED)) * away).sum(-1)


def found(ops: Any, regularizer: Any, shared: int = 0, **settings: Any) -> tuple[Any, Any, Any]:
    """Losses, gradient and the learner's numbers, the inner problem solved to the last digit."""
    problem: Any = Quadratic(ops, shared)
    parts = Components(ops, problem, universal(ops), sgd(ops, problem.layout, lr=0.3), regularizer)
    theta = {
        "initializer": {"start": ops.array(START[: SIZE - shared])},
        "problem": {"shared": ops.array(START[SIZE - shared :])} if shared else {},
        "rule": {},
        "regularizer": regularizer.init(problem.layout),
    }
    learner = imaml(parts, **{"steps": 200, "cg_steps": 20, "tolerance": 1e-7, **settings})
    batches = [{"center": ops.array(c), "weights": ops.ones((TASKS, 1))} for c in (SUPPORT, QUERY)]
    losses, gradient = learner.meta_grad(theta, *batches)
    return ops.numpy(losses), ops.map_tree(ops.numpy, gradient), learner.numbers()


def far(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_the_exact_solution_of_a_quadratic_problem(ops: Any) -> None:
    # rows = (C + s)^-1 (C center + s start), so d rows / d start = s (C + s)^-1
    inverse = np.linalg.inv(CURVED + STRENGTH * np.eye(SIZE))
    rows = (SUPPORT @ CURVED + STRENGTH * START) @ inverse
    at_end = (rows - QUERY) @ CURVED
    losses, gradient, numbers = found(ops, l2(ops, strength=STRENGTH))
    assert far(losses, 0.5 * (at_end * (rows - QUERY)).sum(-1)) < 1e-4
    assert far(gradient["initializer"]["start"], (STRENGTH * at_end @ inverse).sum(0)) < 1e-4
    assert numbers["cg_residual"] < 1e-5 and numbers["inner_gradient"] < 1e-5 and numbers["negative_curvature"] == 0


def test_a_learned_strength_gets_its_exact_gradient_too(ops: Any) -> None:
    def total(log_strength: float) -> float:
        s = np.exp(log_strength)
        rows = np.linalg.solve(CURVED + s * np.eye(SIZE), (SUPPORT @ CURVED + s * START).T).T
        return float(0.5 * (((rows - QUERY) @ CURVED) * (rows - QUERY)).sum())

    at, h = np.log(STRENGTH), 1e-5
    _, gradient, _ = found(ops, l2(ops, strength=STRENGTH, learn=True))
    wanted = (total(at + h) - total(at - h)) / (2 * h)
    assert float(gradient["regularizer"]["log_strength"][0]) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", ["l2", "ewc"])
def test_shared_numbers_are_held_and_trained_through_the_solution(ops: Any, kind: str) -> None:
    own, weight = SIZE - 2, STRENGTH
    regularizer = l2(ops, strength=weight) if kind == "l2" else ewc(ops, strength=weight * 4, prior=0.25)
    inverse = np.linalg.inv(CURVED[:own, :own] + weight * np.eye(own))

    def total(start: np.ndarray) -> float:
        right = SUPPORT[:, :own] @ CURVED[:own, :own] - (start[own:] - SUPPORT[:, own:]) @ CURVED[own:, :own]
        mine = (right + weight * start[:own]) @ inverse
        away = np.concatenate([mine, np.broadcast_to(start[own:], (TASKS, 2))], 1) - QUERY
        return float(0.5 * ((away @ CURVED) * away).sum())

    wanted = [(total(START + h) - total(START - h)) / 2e-5 for h in 1e-5 * np.eye(SIZE)]
    _, gradient, _ = found(ops, regularizer, shared=2)
    assert far(gradient["initializer"]["start"], np.array(wanted)[:own]) < 1e-4
    assert far(gradient["problem"]["shared"], np.array(wanted)[own:]) < 1e-4


def test_a_network_s_gradient_is_that_of_the_solved_inner_problem() -> None:
    parts, theta, support, query = small("sgd", {"lr": 0.05}, "l2", {"strength": 5.0, "learn": True})
    learner = imaml(parts, steps=60, cg_steps=60, tolerance=1e-6)
    _, gradient = learner.meta_grad(theta, support, query)
    assert learner.numbers()["inner_gradient"] < 2e-3
    loss = verify.query_loss(parts, support, query, 60)
    held = {name: part for name, part in theta.items() if name != "rule"}
    told = {name: gradient[name] for name in held}
    rng = np.random.default_rng(0)
    errors = dict(verify.slopes(lambda moved: loss({**theta, **moved}), held, told, parts.ops, rng))
    assert errors.keys() == {"initializer.start", "regularizer.log_strength"}
    assert max(errors.values()) < 1e-2


def test_rows_stop_each_at_their_own_time(ops: Any) -> None:
    matrices = np.stack([CURVED + np.eye(SIZE), np.eye(SIZE), np.diag([1.0, 1, 1, 1, 1, -9]), np.eye(SIZE)])
    b = np.concatenate([RNG.standard_normal((3, SIZE)), np.zeros((1, SIZE))])
    asked: list[int] = []

    def product(x: Any) -> Any:
        asked.append(1)
        return (ops.array(matrices) @ x.reshape(-1, SIZE, 1)).reshape(-1, SIZE)

    solution = solve(ops, product, ops.array(b), 20, 1e-5)
    x = ops.numpy(solution.x)
    assert far(x[0], np.linalg.solve(matrices[0], b[0])) < 1e-4
    np.testing.assert_allclose(x[1], b[1], rtol=1e-5)
    assert solution.negative.tolist() == [False, False, True, False]
    assert solution.residuals[2] > 0.1 and (solution.residuals[[0, 1, 3]] < 1e-5).all() and not x[3].any()
    assert len(asked) <= SIZE + 1
    short = solve(ops, product, ops.array(b), 2, 1e-5)
    truth = b[0] - ops.numpy(short.x)[0] @ matrices[0]
    assert short.residuals[0] == pytest.approx(np.linalg.norm(truth) / np.linalg.norm(b[0]), rel=1e-3)


def test_it_warns_once_and_tells_what_it_found(caplog: pytest.LogCaptureFixture) -> None:
    parts, theta, *batches = small("sgd", {"lr": 0.1}, "l2", {"strength": 0.01})
    learner = imaml(parts, steps=2, cg_steps=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            learner.meta_grad(theta, *batches)
    assert len(caplog.messages) == 1
    assert "raise" in caplog.messages[0] and "regularizer.strength" in caplog.messages[0]
    numbers = learner.numbers()
    assert numbers["cg_residual"] > 1e-3
    assert numbers["negative_curvature"] in (0, 3, 6)
    left = adapt.gradient(parts, theta, adapt.adapt(parts, theta, batches[0], 2), batches[0])
    worst = np.linalg.norm(parts.ops.numpy(left), axis=1).max()
    assert numbers["inner_gradient"] == pytest.approx(worst, rel=1e-5)
    assert learner.numbers() == {}


def test_nothing_that_pulls_to_the_start_is_refused() -> None:
    parts = small("sgd", {"lr": 0.1}, "none", {})[0]
    assert isinstance(parts.regularizer, type(none(parts.ops)))
    with pytest.raises(RecipeError, match=r"needs what pulls rows to their start; set regularizer: \{kind: l2"):
        imaml(parts)


def test_the_trial_before_training_leaves_nothing_in_the_first_step_s_numbers(tmp_path: Path, shared: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        f"model: {shared}/models/stories260k\nadapter: {{kind: lora, rank: 1, sites: [q_proj], layers: 1}}\n"
        "tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}\nreadout: {kind: prototypes, metric: plain}\n"
        "regularizer: {kind: l2, strength: 5}\nlearner: {kind: imaml, steps: 1, cg_steps: 1}\n"
    )
    recipe = load_recipe(path)
    loop = OuterLoop(recipe, compose(recipe), recipe.make("tasks"))
    learner: Any = loop.setup.learner
    loop.choose_tasks_per_pass()
    assert learner.numbers() == {}
    loop.meta_gradient(learner, [loop.tasks.train.episode(np.random.default_rng(0))])
    assert set(learner.numbers()) == {"cg_residual", "inner_gradient", "negative_curvature"}
