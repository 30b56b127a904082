"""The checks of the learners hold, and catch what is wrong: a derivative cut on the way."""

from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa import learners, rules
from mlx_melpa.config.kinds import FOLDERS, kinds
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Parts
from mlx_melpa.verification import references as verify
from mlx_melpa.verification.cases import HELD, INITIALIZERS, OTHERS, RULES, SMOOTH, WRITTEN, pairs, small
from mlx_melpa.verification.suite import DEFINITIONS, EXACT, STREAMS, errors, sweep


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    return sweep()


@pytest.mark.parametrize("part", sorted(FOLDERS.keys() - {"tasks", "sampler", "problem"}))
def test_every_kind_is_swept(part: str, found: list[dict[str, Any]]) -> None:
    """Tasks and samplers have no gradient; a problem is a case's own."""
    keys = ("learner", "rule", "regularizer", "initializer")
    named = {kind for entry in found for key in keys for kind in entry[key].split(", ")}
    assert kinds(part).keys() <= named, "add a case to verify_cases.py"


def test_every_learner_is_swept_with_every_rule_and_every_check_is_met(found: list[dict[str, Any]]) -> None:
    assert set(DEFINITIONS) == set(learners.KINDS)
    assert set(RULES) == set(rules.KINDS)
    with_rules = {(e["learner"], e["rule"]) for e in found if ", " not in e["rule"]}
    assert with_rules == {(a, b) for a in learners.KINDS for b in rules.KINDS}
    slopes = [e for e in found if e["against"] == "finite differences"]
    by_start = {e["initializer"] for e in slopes}
    written = {", ".join(("universal", *pair)) for pair in pairs()}
    assert by_start == {
        "universal",
        *OTHERS,
        HELD,
        *(f"hypernetwork, {f}" for f in (*INITIALIZERS, *WRITTEN)),
        *written,
    }
    assert {e["part"] for e in slopes if e["regularizer"] == "l2, each"} == {"initializer", "rule", "regularizer"}
    assert {e["part"] for e in slopes if e["rule"] == "learned, tensor"} == {"initializer", "rule"}
    assert {e["part"] for e in found if e["against"] == "its exact solution of a quadratic"} == {
        "initializer",
        "regularizer",
    }
    streams = [e for e in found if e["stream"] == 3]
    assert {e["learner"] for e in streams} == set(STREAMS) and {e["rule"] for e in streams} == set(SMOOTH)
    assert {e["part"] for e in streams if e in slopes} == {"initializer", "rule", "regularizer"}
    held = {(e["learner"], e["rule"], e["part"]) for e in slopes if e["initializer"] == HELD}
    assert {part for _, _, part in held} == {"initializer", "rule", "regularizer"}
    assert {(learner, rule) for learner, rule, _ in held} == {("anil", rule) for rule in rules.KINDS}
    slopes = [e for e in slopes if e["initializer"] == "universal" and e["stream"] == 1]
    slopes = [e for e in slopes if ", " not in e["rule"] + e["regularizer"]]
    assert {e["part"] for e in slopes} == {"initializer", "rule", "regularizer"}
    # initializers of six rules with four regularizers; what three of those learn; what three rules learn
    assert len(slopes) == len(EXACT.keys() - {"anil"}) * (6 * 4 + 6 * 3 + 3 * 4)
    for entry in found:
        assert entry["relative_error"] <= entry["limit"], entry
    assert {e["limit"] for e in slopes} == {1e-2}


def changed(parts: Parts, **new: Any) -> Parts:
    return Parts(**{**vars(parts), **new})


def by_part(parts: Parts, theta: Any, support: Any, query: Any) -> dict[str, float]:
    return {p: e for p, e, check in errors("maml", parts, theta, support, query, tries=1) if check.limit == 1e-2}


@pytest.mark.parametrize("cut", ["rule", "regularizer", "initializer"])
def test_a_detached_derivative_is_caught_where_it_is_cut(cut: str) -> None:
    parts, theta, support, query = small("meta_sgd", {"lr": 0.05}, "l2", {"strength": 0.5, "learn": True})
    stop, part = parts.ops.stop_gradient, getattr(parts, cut)
    name = {"rule": "step", "regularizer": "penalty", "initializer": "make"}[cut]
    whole = getattr(part, name)

    def detached(meta: Any, *rest: Any) -> Any:
        return whole(parts.ops.map_tree(stop, meta), *rest)

    assert all(error < 1e-2 for error in by_part(parts, theta, support, query).values())
    setattr(part, name, detached)
    found = by_part(parts, theta, support, query)
    assert found[cut] > 0.9
    assert all(error < 1e-2 for other, error in found.items() if other != cut)


def test_an_inner_gradient_through_numpy_loses_the_second_order_and_is_caught() -> None:
    parts, theta, support, query = small("sgd", {"lr": 0.05}, "none", {})
    first = learners.KINDS["fomaml"](parts, steps=3).meta_grad(theta, support, query)[1]
    loss = verify.query_loss(parts, support, query, 3)
    (name, error), *_ = verify.slopes(loss, theta, first, parts.ops, np.random.default_rng(0), 1)
    assert name == "initializer.start"
    assert error > 0.05


def test_difference_is_relative_and_zero_where_both_vanish() -> None:
    ops = small("sgd", {"lr": 0.05}, "none", {})[0].ops
    one = {"a": ops.array([3.0, 4.0]), "b": ops.zeros((2,))}
    two = {"a": ops.array([3.0, 4.5]), "b": ops.zeros((2,))}
    assert verify.difference(two, one, ops) == {"a": pytest.approx(0.1), "b": 0.0}


def test_the_loop_that_verify_probes_is_the_one_that_adapts() -> None:
    parts, theta, support, query = small("sgd", {"lr": 0.05}, "none", {})
    rows = adapt.adapt(parts, theta, support, 3)["rows"]
    wanted = parts.ops.numpy(parts.problem.losses(rows, query)).sum()
    assert verify.query_loss(parts, support, query, 3)(theta) == pytest.approx(float(wanted), rel=1e-6)


def test_the_command_prints_a_table_and_ends_with_1_where_a_check_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx_melpa.verification.suite as module

    good = {"learner": "maml", "rule": "sgd", "part": "initializer", "relative_error": 1e-7}
    good |= {
        "stream": 1,
        "regularizer": "none",
        "initializer": "universal",
        "against": "plain unrolled loop",
        "limit": 1e-5,
    }
    monkeypatch.setattr(module, "sweep", lambda *given: [good])
    result = CliRunner().invoke(app, ["verify"])
    assert (result.exit_code, "All 1 checks are met" in result.stdout) == (0, True)
    monkeypatch.setattr(module, "sweep", lambda *given: [good, {**good, "relative_error": float("nan")}])
    result = CliRunner().invoke(app, ["verify"])
    assert result.exit_code == 1
    assert "not met" in result.stdout
    assert "1 of 2 checks are not met" in result.stdout


def test_a_recipe_is_checked_on_its_own_model(shared: Any, tmp_path: Any) -> None:
    import json

    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"model: {shared}/models/stories260k\nadapter: {{kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 1}}\n"
        "tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}\nreadout: prototypes\nrule: meta_sgd\nlearner: maml\n"
    )
    result = CliRunner().invoke(app, ["verify", str(path), "--json"])
    found = json.loads(result.stdout)
    assert {(e["learner"], e["part"]) for e in found} == {
        *((learner, part) for learner in ("maml", "maml_plus_plus", "fomaml") for part in ("initializer", "rule")),
        ("reptile", "initializer"),
    }
    assert all(e["relative_error"] <= e["limit"] for e in found), found
    assert result.exit_code == 0
