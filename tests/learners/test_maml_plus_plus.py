"""MAML++: the weights of its losses and its orders, held against their formulas, MAML, and finite differences."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from toys import references as verify
from toys.parts import REGULARIZERS, RULES, small

from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.errors import RecipeError
from mlx_melpa.learners import KINDS
from mlx_melpa.learners.maml_plus_plus import MamlPlusPlus, maml_plus_plus
from mlx_melpa.store.run import load_run
from mlx_melpa.training.estimate import estimate
from mlx_melpa.training.meta_train import meta_train

SINUSOID = """
problem: {kind: regression, hidden: [10]}
tasks: {kind: sinusoid, shots: 5, queries: 5}
rule: {kind: lslr, lr: 0.02, steps: 2}
learner: {kind: maml_plus_plus, steps: 2, multi_step: 0.5, first_order: 0.25}
train: {iterations: 12, tasks_per_step: 2, checkpoint_every: 5, validate_every: 6, validation_episodes: 2, seed: 3}
"""


def same(parts: Any, first: Any, second: Any) -> bool:
    pairs = zip(parts.ops.flatten(first), parts.ops.flatten(second), strict=True)
    return all(a == b and (parts.ops.numpy(x) == parts.ops.numpy(y)).all() for (a, x), (b, y) in pairs)


@pytest.mark.parametrize(
    ("passed", "wanted"),
    [(0.0, [0, 0.25, 0.25, 0.25, 0.25]), (0.2, [0, 0.125, 0.125, 0.125, 0.625]), (0.4, [0, 0, 0, 0, 1]), (1, None)],
)
def test_the_weights_move_to_the_last_step(passed: float, wanted: list[float] | None) -> None:
    parts = small("sgd", RULES["sgd"], "none", {})[0]
    weights = maml_plus_plus(parts, steps=4, multi_step=0.4).at(passed).weights
    np.testing.assert_allclose(weights, wanted or [0, 0, 0, 0, 1], atol=1e-12)
    assert maml_plus_plus(parts, steps=4, multi_step=0.0).at(passed).weights == (0, 0, 0, 0, 1)
    assert maml_plus_plus(parts, steps=1, multi_step=1.0).at(passed).weights == (0, 1)


@pytest.mark.parametrize("rule", ["adam", "lslr"])
def test_at_the_end_it_is_maml_and_in_first_order_fomaml_bit_for_bit(rule: str) -> None:
    parts, theta, *batches = small(rule, RULES[rule], "l2", REGULARIZERS["l2"])
    plain: Any = {"multi_step": 0.0, "first_order": 0.5}
    for learner, passed in (("maml", 1.0), ("maml", 0.5), ("fomaml", 0.49)):
        found = maml_plus_plus(parts, steps=3, **plain).at(passed).meta_grad(theta, *batches)
        assert same(parts, found, KINDS[learner](parts, steps=3).meta_grad(theta, *batches))
    whole = maml_plus_plus(parts, steps=3)
    assert same(parts, whole.meta_grad(theta, *batches), KINDS["maml"](parts, steps=3).meta_grad(theta, *batches))


@pytest.mark.parametrize("regularizer", ["none", "l2"])
def test_finite_differences_where_all_steps_count(regularizer: str) -> None:
    parts, theta, *batches = small("meta_sgd", RULES["meta_sgd"], regularizer, REGULARIZERS[regularizer])
    learner = maml_plus_plus(parts, steps=4, multi_step=1.0, first_order=0.0).at(0.2)
    losses, gradient = learner.meta_grad(theta, *batches)
    loss = verify.query_loss(parts, batches[0], batches[1], 4, (0, 0.2, 0.2, 0.2, 0.4))
    assert float(losses.sum()) == pytest.approx(loss(theta), rel=1e-5)
    errors = dict(verify.slopes(loss, theta, gradient, parts.ops, np.random.default_rng(0)))
    assert len(errors) == (2 if regularizer == "none" else 3)
    assert max(errors.values()) < 1e-2


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The shares of meta-training that the learner was told."""
    found: list[float] = []
    at = MamlPlusPlus.at

    def asked(self: MamlPlusPlus, passed: float) -> MamlPlusPlus:
        found.append(passed)
        return at(self, passed)

    monkeypatch.setattr(MamlPlusPlus, "at", asked)
    return found


def recipe(folder: Path, *sets: str) -> Any:
    (folder / "r.yaml").write_text(SINUSOID)
    return load_recipe(folder / "r.yaml", sets)


def test_training_tells_it_how_far_it_is_after_a_resume_too(tmp_path: Path, told: list[float]) -> None:
    list(meta_train(recipe(tmp_path), tmp_path / "whole"))
    assert told == [i / 11 for i in range(12)]
    told.clear()
    events = meta_train(recipe(tmp_path), tmp_path / "stopped")
    for event in events:
        if event["iteration"] == 8:
            break
    events.close()  # type: ignore[attr-defined]
    list(meta_train(recipe(tmp_path), tmp_path / "stopped", resume=True))
    assert told == [i / 11 for i in (*range(8), *range(5, 12))]
    a, b = (load_file(tmp_path / name / "theta.safetensors") for name in ("whole", "stopped"))
    assert all((a[name] == b[name]).all() for name in a)


def test_annealing_changes_what_is_learned_and_the_run_can_be_used(tmp_path: Path) -> None:
    thetas = []
    for name, sets in {"a": (), "b": ("learner.multi_step=0",), "c": ("learner.first_order=1",)}.items():
        list(meta_train(recipe(tmp_path, *sets), tmp_path / name))
        thetas.append(load_file(tmp_path / name / "theta.safetensors")["initializer.start"])
    assert all(np.abs(thetas[0] - other).max() > 1e-6 for other in thetas[1:])
    assert load_run(tmp_path / "a").steps == 2


def test_an_estimate_looks_all_over_meta_training(
    tmp_path: Path, told: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_melpa.training.estimate.MIN_SECONDS", 0.0)
    assert estimate(recipe(tmp_path, "train.iterations=1001")).seconds > 0
    assert told == pytest.approx([0, 0, 0.618, 0.236, 0.854], abs=2e-3)


def test_first_order_all_along_refuses_what_only_second_order_trains(tmp_path: Path) -> None:
    learned = ("regularizer={kind: l2, learn: true}",)
    assert recipe(tmp_path, *learned)
    with pytest.raises(RecipeError, match="maml_plus_plus' trains the initializer and the rule only"):
        list(meta_train(recipe(tmp_path, *learned, "learner.first_order=1"), tmp_path / "run"))
