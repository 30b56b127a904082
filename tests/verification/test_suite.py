"""The checks of the learners hold, and catch what is wrong: a derivative cut on the way."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from toys.parts import errors, small
from toys.references import query_loss
from typer.testing import CliRunner

from mlx_melpa.config.kinds import FOLDERS, kind_class, kinds
from mlx_melpa.core import inner_loop
from mlx_melpa.core.protocols import Components
from mlx_melpa.learners import KINDS as LEARNERS
from mlx_melpa.verification import suite
from mlx_melpa.verification.cases import choices
from mlx_melpa.verification.differences import relative_errors, slope_errors
from mlx_melpa.verification.suite import Check, check_all


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return check_all()


def test_every_check_is_met(checks: list[Check]) -> None:
    for check in checks:
        assert check.met, check


@pytest.mark.parametrize("part", sorted(FOLDERS.keys() - {"tasks", "sampler", "problem"}))
def test_every_instance_of_every_kind_is_checked(part: str, checks: list[Check]) -> None:
    """Tasks and samplers have no gradient; a problem is a case's own."""
    found = {name for check in checks for name in (*check.problem.split(", "), vars(check).get(part, ""))}
    assert {str(choice) for choice in choices(part)} <= found


def test_every_learner_is_checked_with_every_rule_and_regularizer_that_it_can_learn_with(checks: list[Check]) -> None:
    rules = {(check.learner.split()[0], check.rule.split()[0]) for check in checks}
    every = {(learner, rule) for learner in LEARNERS for rule in kinds("rule")}
    assert rules == every - {("anil", "ada_lora")}  # the block's LoRA is all that there is to share
    regularizers = {(check.learner.split()[0], check.regularizer.split()[0]) for check in checks}
    assert regularizers == {
        (learner, regularizer)
        for learner in LEARNERS
        for regularizer in kinds("regularizer")
        if not kind_class("learner", learner).lacks(kind_class("regularizer", regularizer), {})
    }


def test_every_part_that_an_exact_learner_trains_is_held_against_finite_differences(checks: list[Check]) -> None:
    slopes = [check for check in checks if check.against == "finite differences"]
    exact = {learner for learner in LEARNERS if kind_class("learner", learner).exact_gradient}
    assert exact == {"maml", "maml_plus_plus", "anil"} == {check.learner.split()[0] for check in slopes}
    assert {check.limit for check in slopes} == {1e-2}
    for learner in exact:
        parts = {check.part for check in slopes if check.learner.split()[0] == learner}
        assert parts == {"initializer", "problem", "rule", "regularizer"}
    assert {check.learner.split()[0] for check in checks if check.stream == 2} == {"maml", "fomaml", "anil"}


def slopes_by_part(parts: Components, theta: Any, support: Any, query: Any) -> dict[str, float]:
    found = errors("maml", parts, theta, support, query)
    return {error.part: error.relative_error for error in found if error.against == "finite differences"}


@pytest.mark.parametrize("cut", ["rule", "regularizer", "initializer"])
def test_a_detached_derivative_is_caught_where_it_is_cut(cut: str) -> None:
    parts, theta, support, query = small("meta_sgd", {"lr": 0.05}, "l2", {"strength": 0.5, "learn": True})
    stop, part = parts.ops.stop_gradient, vars(parts)[cut]
    name = {"rule": "step", "regularizer": "penalty", "initializer": "make"}[cut]
    whole = getattr(part, name)

    def detached(meta: Any, *rest: Any) -> Any:
        return whole(parts.ops.map_tree(stop, meta), *rest)

    assert all(error < 1e-2 for error in slopes_by_part(parts, theta, support, query).values())
    setattr(part, name, detached)
    found = slopes_by_part(parts, theta, support, query)
    assert found[cut] > 0.9
    assert all(error < 1e-2 for other, error in found.items() if other != cut)


def test_an_inner_gradient_through_numpy_loses_the_second_order_and_is_caught() -> None:
    parts, theta, support, query = small("sgd", {"lr": 0.05}, "none", {})
    first = LEARNERS["fomaml"](parts, steps=3).meta_grad(theta, support, query)[1]
    loss = query_loss(parts, support, query, 3)
    (name, error), *_ = slope_errors(loss, theta, first, parts.ops, np.random.default_rng(0))
    assert name == "initializer.start"
    assert error > 0.05


def test_errors_are_relative_and_zero_where_both_vanish() -> None:
    ops = small("sgd", {"lr": 0.05}, "none", {})[0].ops
    one = {"a": ops.array([3.0, 4.0]), "b": ops.zeros((2,))}
    two = {"a": ops.array([3.0, 4.5]), "b": ops.zeros((2,))}
    assert relative_errors(two, one, ops) == {"a": pytest.approx(0.1), "b": 0.0}


def test_the_definition_is_the_loss_after_the_loop_that_adapts() -> None:
    parts, theta, support, query = small("sgd", {"lr": 0.05}, "none", {})
    rows = inner_loop.adapt(parts, theta, support, 3)["rows"]
    wanted = parts.ops.numpy(parts.problem.losses(rows, query, theta["problem"]))
    found = LEARNERS["maml"](parts, steps=3).definition(theta, support, query)(theta)
    np.testing.assert_allclose(parts.ops.numpy(found), wanted, rtol=1e-6)


def test_the_command_prints_a_table_and_ends_with_1_where_a_check_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("maml", 1, "sgd", "none", "universal", "curves")
    good = Check(*kinds, part="initializer", against="its definition", relative_error=1e-7, limit=1e-5)
    monkeypatch.setattr(suite, "check_all", lambda *given: [good])
    result = CliRunner().invoke(app, ["verify"])
    assert (result.exit_code, "All 1 checks are met" in result.stdout) == (0, True)
    monkeypatch.setattr(suite, "check_all", lambda *given: [good, replace(good, relative_error=float("nan"))])
    result = CliRunner().invoke(app, ["verify"])
    assert result.exit_code == 1
    assert "1 of 2 checks are not met" in result.stdout


def test_a_recipe_is_checked_on_its_own_model_with_its_learner_and_maml(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"model: {shared}/models/stories260k\nadapter: {{kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 1}}\n"
        "tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}\nreadout: {kind: prototypes, metric: plain}\n"
        "rule: meta_sgd\nlearner: fomaml\n"
    )
    result = CliRunner().invoke(app, ["verify", str(path), "--json"])
    found = json.loads(result.stdout)
    assert {(e["learner"], e["part"]) for e in found} == {
        (learner, part) for learner in ("fomaml", "maml") for part in ("initializer", "rule")
    }
    assert all(e["relative_error"] <= e["limit"] for e in found), found
    assert result.exit_code == 0
