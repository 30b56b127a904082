"""The learned subspace: what rows are made of, exact meta-gradients of mean and basis, and people who are codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from toys.parts import REGULARIZERS as STRENGTHS
from toys.parts import RULES as SETTINGS
from toys.parts import errors, small
from typer.testing import CliRunner

from mlx_melpa.config.build import compose, engine
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.protocols import Components
from mlx_melpa.core.rows import RowProblem
from mlx_melpa.errors import RecipeError
from mlx_melpa.initializers import KINDS
from mlx_melpa.problems.regression import Regression
from mlx_melpa.regularizers import KINDS as REGULARIZERS
from mlx_melpa.rules import KINDS as RULES
from mlx_melpa.store import Store
from mlx_melpa.store.run import load_run

ENGINES = ("mlx", "torch")
SIZE = 2
TEXTS = {
    "home": ["pay the gas bill", "call the plumber", "buy curtains", "water the plants", "clean the kitchen"],
    "work": ["send the report", "prepare slides", "review the contract", "book a room", "answer the supplier"],
}
RECIPE = """
model: %s
adapter: {kind: lora, rank: 2, layers: 2}
tasks: {kind: synthetic, variant: %s, ways: 2, shots: 2, queries: 2}
readout: %s
initializer: {kind: subspace, size: 16}
rule: {kind: adam, lr: 1e-2}
learner: {kind: fomaml, steps: 2}
train: {iterations: 2, tasks_per_step: 2, validate_every: 2, validation_episodes: 2, checkpoint_every: 1}
"""


class Quadratic(RowProblem):
    """Losses 1/2 |weights - center|^2 over five numbers, of which the middle two are shared."""

    def __init__(self, ops: Any):
        super().__init__(ops, Layout([Segment("a", (2,)), Segment("b", (2,), shared=True), Segment("c", (1,))]))

    def losses(self, rows: Any, batch: Any, shared: Any) -> Any:
        away = self.acting(rows, shared) - batch["center"]
        return 0.5 * (away * away).sum(-1)


OWN, SHARED = np.array([0, 1, 4]), np.array([2, 3])
RNG = np.random.default_rng(0)
MEAN, BASIS, CENTER = RNG.standard_normal(5), RNG.standard_normal((SIZE, 3)), RNG.standard_normal((2, 5))


def parts_of(backend: str) -> Components:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    ops: Any = engine(backend)
    initializer = KINDS["subspace"](ops, Quadratic(ops), size=SIZE)
    problem: Any = Quadratic(ops).with_decoder(initializer.decoder)
    rule = RULES["sgd"](ops, problem.layout, lr=0.1)
    return Components(ops, problem, initializer, rule, REGULARIZERS["none"](ops))


def test_answers_drift_as_those_of_the_rows_that_act() -> None:
    parts, theta, support, query = small(
        "sgd", SETTINGS["sgd"], "lwf", STRENGTHS["lwf"], start=("subspace", {"size": 20})
    )
    problem: Any = parts.problem
    codes = parts.ops.array(np.random.default_rng(3).standard_normal((2, 20)))
    rows, before = (problem.decoder.decode(theta["problem"], each) for each in (1.1 * codes, codes))
    wanted = Regression.drift(problem.with_decoder(None), rows, before, support, {})
    found = problem.drift(1.1 * codes, codes, support, theta["problem"])
    np.testing.assert_allclose(parts.ops.numpy(found), parts.ops.numpy(wanted))
    for error in errors("maml", parts, theta, support, query):
        assert error.relative_error <= error.limit, error


@pytest.mark.parametrize("backend", ENGINES)
def test_steps_move_the_code_and_rows_are_mean_plus_code_times_basis(backend: str) -> None:
    parts = parts_of(backend)
    ops = parts.ops
    shared = {"mean": ops.array(MEAN[OWN]), "shared": ops.array(MEAN[SHARED]), "basis": ops.array(BASIS)}
    theta = {"initializer": {}, "problem": shared, "rule": {}, "regularizer": {}}
    batch = {"center": ops.array(CENTER), "weights": ops.ones((2, 1))}
    code = np.zeros((2, SIZE))
    for k, state in enumerate([None, 1, 2, 3]):
        state = adapt.begin(parts, theta, batch) if state is None else adapt.adapt(parts, theta, batch, k)
        rows = np.broadcast_to(MEAN, (2, 5)).copy()
        rows[:, OWN] += code @ BASIS
        np.testing.assert_allclose(ops.numpy(state["rows"]), code, atol=1e-5)
        np.testing.assert_allclose(ops.numpy(parts.problem.acting(state["rows"], shared)), rows, atol=1e-5)
        code = code - 0.1 * (rows - CENTER)[:, OWN] @ BASIS.T


def test_the_basis_begins_orthonormal_and_as_long_as_a_step_on_the_row_wants() -> None:
    ops: Any = engine("mlx")
    problem: Any = Quadratic(ops).with_layout(Layout([Segment("a", (300,)), Segment("b", (40,), shared=True)]))
    coded = problem.with_decoder(KINDS["subspace"](ops, problem, size=12).decoder)
    (_, first), (_, second) = (coded.init(np.random.default_rng(seed)) for seed in (0, 1))
    basis = ops.numpy(first["basis"])
    np.testing.assert_allclose(basis @ basis.T, 300 / 12 * np.eye(12), atol=1e-3)
    assert first["mean"].shape == (300,) and first["shared"].shape == (40,)
    assert np.abs(basis - ops.numpy(second["basis"])).max() > 0.1


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("rule", ["sgd", "meta_sgd"])
def test_mean_and_basis_have_their_exact_meta_gradients(backend: str, rule: str) -> None:
    parts_of(backend)
    case = small(rule, SETTINGS[rule], "l2", STRENGTHS["l2"], 0, backend, ("subspace", {"size": 20}))
    found = [*errors("maml", *case), *errors("fomaml", *case)]
    assert {part for part, *_ in found} == {"problem", "regularizer", *(["rule"] if rule == "meta_sgd" else [])}
    assert {each.against for each in found} == {"finite differences", "its definition"}
    for each in found:
        assert each.relative_error <= each.limit, each


def test_a_basis_that_is_cut_off_in_the_steps_is_caught() -> None:
    parts, *case = small("sgd", SETTINGS["sgd"], "none", {}, 0, "mlx", ("subspace", {"size": 20}))
    decoder: Any = parts.initializer.decoder
    decode, stop = decoder.decode, parts.ops.stop_gradient
    decoder.decode = lambda meta, codes: decode({**meta, "basis": stop(meta["basis"])}, codes)
    slopes = {part: error for part, _, error, limit in errors("maml", parts, *case) if limit == 1e-2}
    assert slopes["problem"] > 0.9


def test_a_code_as_long_as_the_row_and_a_learner_without_a_walk_are_refused(shared: Path, tmp_path: Path) -> None:
    problem: Any = Quadratic(engine("mlx"))
    with pytest.raises(RecipeError, match=r"a code of 3 numbers is no smaller than the row of 3"):
        KINDS["subspace"](engine("mlx"), problem, size=3)
    path = tmp_path / "reptile.yaml"
    path.write_text(
        "problem: regression\ntasks: sinusoid\ninitializer: subspace\nlearner: reptile\ntrain: {iterations: 1}\n"
    )
    with pytest.raises(RecipeError, match=r"learner 'reptile' has no gradient through the steps.*take learner: fomaml"):
        load_recipe(path)


def test_the_baseline_of_a_subspace_moves_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "sinusoid.yaml"
    path.write_text("problem: regression\ntasks: sinusoid\ninitializer: subspace\nlearner: maml\n")
    setup = compose(load_recipe(path))
    assert setup.layout.size == 128
    plain = setup.random_start(1e-3)
    assert plain.layout == setup.problem.acting_layout
    assert plain.begin(0)["initializer"]["start"].shape == (plain.layout.size,)


def melpa(*order: str) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in order])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def train(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Meta-trains a tiny run in a folder with examples of one person, and a store beside it."""
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    rows = [{"text": text, "label": label} for label, texts in TEXTS.items() for text in texts]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({**r, "text": r["text"] + " soon"}) + "\n" for r in rows))
    (tmp_path / "lines.txt").write_text("\n".join(f"{w} is my name, says the {w}." for w in "abcdefgh") + "\n")

    def make(kind: str, readout: str) -> Path:
        (tmp_path / "recipe.yaml").write_text(RECIPE % (shared / "models/stories260k", kind, readout))
        melpa("meta-train", tmp_path / "recipe.yaml", "--out", tmp_path / "run")
        return tmp_path

    return make


def test_a_person_is_a_code_from_meta_training_to_export(train: Callable[[str, str], Path]) -> None:
    trained = train("people", "{kind: prototypes, metric_episodes: 4}")
    melpa("adapt", "--user", "me", trained / "notes.jsonl", "--run", trained / "run", "--steps", "2")
    run = load_run(trained / "run")
    with Store() as store:
        version = store.latest("me")
        assert version is not None and version.run == run.fingerprint
        assert version.state.rows.shape == (1, 16) and np.abs(version.state.rows).max() > 0
    theta = {name: run.setup.ops.numpy(leaf) for name, leaf in run.theta["problem"].items()}
    own, shared = run.setup.problem.acting_layout.divide(run.acting(version.state.rows))
    np.testing.assert_allclose(own, theta["mean"] + version.state.rows[0] @ theta["basis"], atol=1e-6)
    np.testing.assert_array_equal(shared, theta["shared"])
    labels = json.loads(melpa("label", "--user", "me", trained / "notes.jsonl", "--json").stdout)
    assert len(labels) == 10
    melpa("score", "--user", "me", trained / "notes.jsonl")
    melpa("adapt", "--user", "me", trained / "more.jsonl", "--steps", "1")
    with Store() as store:
        assert [v.state.rows.shape for v in (store.get("me", n) for n in (1, 2))] == [(1, 16), (1, 16)]
    melpa("export", "--user", "me", "--to", "melpa", "--out", trained / "ours")
    melpa("import", "--user", "copy", trained / "ours", "--model", run.setup.base.name)
    assert len(json.loads(melpa("label", "--user", "copy", trained / "notes.jsonl", "--json").stdout)) == 10
    with Store() as store:
        copied, active = store.latest("copy"), store.latest("me")
        assert copied is not None and active is not None
        own, _ = run.setup.problem.acting_layout.divide(run.acting(active.state.rows))
        np.testing.assert_allclose(copied.state.rows[0], own, atol=1e-3)


def test_a_code_writes_text_and_its_row_goes_to_mlx_lm(train: Callable[[str, str], Path]) -> None:
    trained = train("style", "completion")
    melpa("adapt", "--user", "me", trained / "lines.txt", "--run", trained / "run", "--steps", "3")
    melpa("generate", "--user", "me", "--max-tokens", "3", "a is")
    melpa("score", "--user", "me", trained / "lines.txt")
    melpa("export", "--user", "me", "--out", trained / "theirs")
    assert (trained / "theirs" / "adapters.safetensors").is_file()
