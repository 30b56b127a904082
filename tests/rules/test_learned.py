"""The learned optimizer: against NumPy, its start, its groups of coordinates, and what meta-training makes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.parts import errors, small
from toys.references import query_loss

from mlx_melpa.config.build import engine
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.learners import KINDS as LEARNERS
from mlx_melpa.rules import KINDS
from mlx_melpa.tasks.sinusoid import sinusoid
from mlx_melpa.training.meta_train import meta_train

LAYOUT = Layout([Segment("a", (2, 2)), Segment("b", (3,))])
RNG = np.random.default_rng(0)
START = RNG.standard_normal((2, 7)).astype(np.float32)
GRADS = (RNG.standard_normal((3, 2, 7)) * 10.0 ** RNG.integers(-6, 2, (3, 2, 7))).astype(np.float32)
GRADS[:, 0, 0] = 0
ENGINES = ("mlx", "torch")
SINUSOID = """
problem: {kind: regression, hidden: [20, 20], activation: tanh}
tasks: {kind: sinusoid, shots: 5, queries: 10}
rule: {kind: learned, lr: 0.01, p: 4}
learner: {kind: maml, steps: 3}
train: {iterations: 80, tasks_per_step: 8, validation_episodes: 4, optimizer: {kind: adam, lr: 1e-2}}
"""


def built(backend: str = "mlx", **settings: Any) -> Any:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    builder: Any = KINDS["learned"]
    return builder(engine(backend), LAYOUT, **settings)


def run(rule: Any, meta: Any, grads: np.ndarray = GRADS) -> np.ndarray:
    rows = rule.ops.array(START)
    memory = rule.begin(rows)
    for k, each in enumerate(grads):
        rows, memory = rule.step(meta, k, rows, rule.ops.array(each), memory)
    return rule.ops.numpy(rows)


def drawn(rule: Any, groups: int, hidden: int) -> Any:
    rng = np.random.default_rng(7)
    shapes = {
        "gates": (groups, 4 * hidden, 2 + hidden),
        "bias": (groups, 4 * hidden, 1),
        "out": (groups, 1, 2 + hidden),
    }
    meta = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    assert {name: leaf.shape for name, leaf in rule.ops.flatten(rule.init(LAYOUT))} == shapes
    return meta


def by_hand(meta: Any, lr: float, p: float, group_of: list[int]) -> np.ndarray:
    """One number after the other, an LSTM cell written out."""

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    out = START.astype(np.float64)
    for t in range(2):
        for i, s in enumerate(group_of):
            gates, bias, to = meta["gates"][s], meta["bias"][s][:, 0], meta["out"][s][0]
            width = len(bias) // 4
            h, c = np.zeros(width), np.zeros(width)
            for g in GRADS[:, t, i].astype(np.float64):
                x = [np.log(abs(g)) / p, np.sign(g)] if abs(g) >= np.exp(-p) else [-1.0, np.exp(p) * g]
                z = gates[:, :2] @ x + gates[:, 2:] @ h + bias
                taken, kept, told, new = (z[j * width : (j + 1) * width] for j in range(4))
                c = sigmoid(kept) * c + sigmoid(taken) * np.tanh(new)
                h = sigmoid(told) * np.tanh(c)
                out[t, i] -= lr * (to[:2] @ x + to[2:] @ h)
    return out


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize(("share", "group_of"), [("all", [0] * 7), ("tensor", [0] * 4 + [1] * 3)])
def test_it_is_an_lstm_on_each_coordinate(backend: str, share: str, group_of: list[int]) -> None:
    rule = built(backend, lr=0.3, hidden=3, p=5.0, share=share)
    meta = drawn(rule, max(group_of) + 1, 3)
    found = run(rule, rule.ops.map_tree(rule.ops.array, meta))
    np.testing.assert_allclose(found, by_hand(meta, 0.3, 5.0, group_of), atol=1e-5)


@pytest.mark.parametrize("share", ["all", "tensor"])
def test_its_first_steps_are_near_to_sign_descent(share: str) -> None:
    large = np.where(GRADS == 0, 0, np.sign(GRADS) * np.maximum(np.abs(GRADS), 1e-3)).astype(np.float32)
    rule = built(lr=0.01, share=share)
    moved = (START - run(rule, rule.init(LAYOUT), large)) / 0.01
    assert np.abs(moved - np.sign(large).sum(0)).max() < 0.2
    assert np.abs(moved - np.sign(large).sum(0)).max() > 0


def test_memory_is_two_states_of_hidden_numbers_for_each_coordinate() -> None:
    rule = built(hidden=5)
    memory = rule.begin(rule.ops.array(START))
    assert {name: leaf.shape for name, leaf in memory.items()} == {"hidden": (2, 5, 7), "cell": (2, 5, 7)}


def test_derivatives_are_finite_where_a_gradient_is_zero() -> None:
    rule = built()
    ops, meta = rule.ops, rule.init(LAYOUT)

    def moved(g: Any) -> Any:
        return rule.step(meta, 0, ops.array(START), g, rule.begin(ops.array(START)))[0].sum()

    slope = ops.numpy(ops.grad(moved, ops.zeros((2, 7))))
    assert np.isfinite(slope).all()
    assert slope.any()


@pytest.mark.parametrize("backend", ENGINES)
def test_finite_differences_agree_over_the_weights_of_each_tensor(backend: str) -> None:
    built(backend)
    case = small("learned", {"lr": 0.05, "p": 2.0, "share": "tensor"}, "none", {}, 0, backend)
    found = list(errors("maml", *case)) + list(errors("fomaml", *case))
    assert {part for part, *_ in found} == {"initializer", "rule"}
    for each in found:
        assert each.relative_error <= each.limit, each


def test_meta_training_lowers_the_loss(tmp_path: Path) -> None:
    path = tmp_path / "sinusoid.yaml"
    path.write_text(SINUSOID)
    losses = [e["loss"] for e in meta_train(load_recipe(path), tmp_path / "run") if e["event"] == "step"]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_a_rule_that_learns_alone_beats_its_start_on_other_tasks() -> None:
    parts, theta, *_ = small("learned", {"lr": 0.02, "p": 4.0}, "none", {})
    ops, learner, start = parts.ops, LEARNERS["maml"](parts, steps=5), theta
    optimizer = ops.OuterOptimizer("adam", lr=0.05, schedule="constant", warmup=0, steps=60)
    optimizer.begin(theta["rule"])
    tasks = sinusoid(shots=10, queries=10)
    for i in range(60):
        drawn = [tasks.train.episode(np.random.default_rng([5, i, j])) for j in range(8)]
        _, gradient = learner.meta_grad(theta, *parts.problem.prepare(drawn))
        theta = {**theta, "rule": optimizer.apply(ops.clip(gradient["rule"], 10.0)[0], theta["rule"])}
        ops.evaluate(theta, optimizer.state)
    held = parts.problem.prepare([tasks.test.episode(np.random.default_rng([6, j])) for j in range(40)])
    before, after = (query_loss(parts, *held, 5)(each) for each in (start, theta))
    assert after < 0.9 * before
