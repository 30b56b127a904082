"""AdaLoRA's ranks: against NumPy, where they go, and who is refused."""

from typing import Any

import numpy as np
import pytest
from toys.parts import errors

from mlx_melpa.backends.mlx import ops
from mlx_melpa.config.build import compose, part_of
from mlx_melpa.config.kinds import kinds
from mlx_melpa.config.recipe import recipe_of
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.protocols import Components
from mlx_melpa.errors import RecipeError
from mlx_melpa.rules import KINDS
from mlx_melpa.verification.cases import Choice
from mlx_melpa.verification.toys import Letters, words

LAYOUT = Layout(
    Segment(name, shape)
    for name, shape in [
        ("0.q.lora_a", (4, 3)),
        ("0.q.lora_b", (3, 5)),
        ("1.v.lora_a", (2, 3)),
        ("1.v.lora_b", (3, 2)),
        ("head", (4,)),
    ]
)
RNG = np.random.default_rng(0)
START = RNG.standard_normal((2, LAYOUT.size)).astype(np.float32)
GRADS = RNG.standard_normal((9, 2, LAYOUT.size)).astype(np.float32)
SETTINGS: dict[str, Any] = {"lr": 0.1, "keep": 0.4, "warmup": 2, "decay": 4, "smooth": 0.6}
LEFT = [6, 6, 5, 4, 4, 3, 3, 3, 3]
"""ceil(3 + 3 ((6 - n) / 4)^3) ranks after n steps, all six up to the second."""


def run(rule: Any, engine: Any = ops, ks: Any = range(9)) -> list[np.ndarray]:
    rows, memory, found = engine.array(START), rule.begin(engine.array(START)), []
    for k, grads in zip(ks, GRADS, strict=True):
        rows, memory = rule.step({}, k, rows, engine.array(grads), memory)
        found.append(engine.numpy(rows))
    return found


def by_hand(row: np.ndarray, grads: np.ndarray) -> list[np.ndarray]:
    """One task in NumPy, rank by rank."""
    row, mean, square, found = row.astype(np.float64), 0.0, 0.0, []
    importance = dict.fromkeys([(site, j) for site in ("0.q", "1.v") for j in range(3)], 0.0)
    for n, g in enumerate(grads.astype(np.float64), 1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        row = row - 0.1 * (mean / (1 - 0.9**n)) / (np.sqrt(square / (1 - 0.999**n)) + 1e-8)
        weights, moved = LAYOUT.views(row), LAYOUT.views(np.abs(row * g))
        for site, j in importance:
            now = moved[f"{site}.lora_a"][:, j].mean() + moved[f"{site}.lora_b"][j].mean()
            importance[site, j] = 0.6 * importance[site, j] + 0.4 * now
        for site, j in sorted(importance, key=lambda at: -importance[at])[LEFT[n - 1] :]:
            weights[f"{site}.lora_b"][j] = 0
        found.append(row.copy())
    return found


@pytest.mark.parametrize("backend", ["mlx", "torch"])
def test_steps_agree_with_numpy(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    engine = part_of(backend, "ops")
    found = run(KINDS["ada_lora"](engine, LAYOUT, **SETTINGS), engine)
    wanted = [by_hand(START[task], GRADS[:, task]) for task in range(2)]
    for n, rows in enumerate(found):
        np.testing.assert_allclose(rows, [each[n] for each in wanted], atol=1e-4)
        for row in rows:
            weights = LAYOUT.views(row)
            acting = sum(np.any(weights[f"{site}.lora_b"][j]) for site in ("0.q", "1.v") for j in range(3))
            assert acting == LEFT[n]


def test_the_count_of_steps_is_remembered_and_a_head_moves_as_adams() -> None:
    rule = KINDS["ada_lora"](ops, LAYOUT, **SETTINGS)
    first, again = run(rule), run(rule, ks=[0, 1, 2, 0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(first, again)
    plain = run(KINDS["adam"](ops, LAYOUT, lr=0.1))
    np.testing.assert_array_equal(np.array(first)[:, :, -4:], np.array(plain)[:, :, -4:])
    whole = run(KINDS["ada_lora"](ops, LAYOUT, **{**SETTINGS, "keep": 1.0}))
    np.testing.assert_array_equal(whole, plain)


def test_ranks_go_to_the_site_that_matters() -> None:
    """Each of two tasks asks for a product A B at another site, which takes all three ranks: |A B - target|^2."""
    rng = np.random.default_rng(1)
    targets = [rng.standard_normal(shape).astype(np.float32) for shape in ((4, 5), (2, 2))]
    rule = KINDS["ada_lora"](ops, LAYOUT, lr=0.05, keep=0.5, warmup=5, decay=20)
    rows, offsets = ops.array(0.3 * START), LAYOUT.offsets

    def loss(values: Any) -> Any:
        a, b, c, d, _ = ops.split(values, offsets[1:-1], 1)
        first = a[0].reshape(4, 3) @ b[0].reshape(3, 5) - ops.array(targets[0])
        second = c[1].reshape(2, 3) @ d[1].reshape(3, 2) - ops.array(targets[1])
        return (first * first).sum() + (second * second).sum()

    memory = rule.begin(rows)
    for k in range(40):
        rows, memory = rule.step({}, k, rows, ops.grad(loss, rows), memory)
    for row, site in zip(ops.numpy(rows), ("0.q", "1.v"), strict=True):
        acting = {name: np.any(w, axis=1).sum() for name, w in LAYOUT.views(row).items() if name.endswith("_b")}
        assert acting == {"0.q.lora_b": 0, "1.v.lora_b": 0, f"{site}.lora_b": 3}
    assert float(loss(rows)) < 0.5 * float(loss(ops.array(0.3 * START)))


def test_the_meta_gradient_through_a_cut_is_that_of_finite_differences() -> None:
    adapter, readout = Choice("adapter", "lora"), Choice("readout", "prototypes")
    problem, tasks = words(ops, 0, adapter.build(), readout.build(ops, Letters()))
    rule = KINDS["ada_lora"](ops, problem.layout, lr=0.02, eps=1e-3, keep=0.5, warmup=1, decay=1)
    parts = Components(ops, problem, kinds("initializer")["universal"](ops), rule, kinds("regularizer")["none"](ops))
    start = 0.5 * np.random.default_rng(0).standard_normal((1, problem.layout.size))
    shared = problem.init(np.random.default_rng(0))[1]
    theta = {"initializer": {"start": ops.array(start[0])}, "problem": shared, "rule": {}, "regularizer": {}}
    support, query = problem.prepare(tasks)
    ended = ops.numpy(adapt.adapt(parts, theta, support, 3)["rows"])
    cut = [np.any(problem.layout.views(row)["0.linear.lora_b"], axis=1).sum() for row in ended]
    assert rule.ranks == 2 and cut == [1, 1]
    assert all(each.relative_error <= each.limit for each in errors("maml", parts, theta, support, query))


def test_without_lora_there_is_nothing_to_allot() -> None:
    tree = {"problem": "regression", "tasks": "sinusoid", "rule": "ada_lora", "learner": "fomaml"}
    with pytest.raises(RecipeError, match="rule ada_lora allots LoRA's ranks, and a row has none here; set adapter"):
        compose(recipe_of(tree, "r"))
