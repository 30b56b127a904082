"""A hypernetwork that reads a description: what it makes of one, of none, and a described person from end to end."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner, Result

from mlx_melpa.backends.mlx import ops
from mlx_melpa.config.build import check_descriptions, compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import RecipeError
from mlx_melpa.initializers.task_encoder import TaskEncoder
from mlx_melpa.problems.language import description
from mlx_melpa.store import Store

RECIPE = """
model: %s
adapter: {kind: lora, rank: 2, layers: %s}
tasks: {kind: synthetic, variant: people, ways: 2, shots: 2, queries: 2}
initializer: {kind: hypernetwork, context: %s, form: chunked, embedding: 16, hidden: 8, chunk: 64}
readout: {kind: prototypes, metric_episodes: 4}
rule: {kind: sgd, lr: 0.1}
learner: {kind: fomaml, steps: 1}
train: {iterations: 3, tasks_per_step: 2, validate_every: 3, validation_episodes: 2, optimizer: {kind: adam, lr: 0.1}}
"""
SUPPORT = (Example("pay the gas bill", label="home"), Example("send the report", label="work"))


def written(shared: Path, folder: Path, context: str, layers: str = "1") -> Path:
    path = folder / f"{context}-{layers}.yaml"
    path.write_text(RECIPE % (shared / "models/stories260k", layers, context))
    return path


@pytest.fixture(params=["description 1", "description all", "both 1", "description 1 torch", "both all torch"])
def setup(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> Iterator[Any]:
    context, layers, *backend = request.param.split()
    if backend:
        pytest.importorskip("torch")
    sets = [f"backend={backend[0]}"] if backend else []
    found = compose(load_recipe(written(shared, tmp_path, context, layers), sets))
    yield found
    found.model.detach()


def test_a_description_is_the_mean_of_its_frozen_states_and_changes_the_row(setup: Any) -> None:
    ops, problem, initializer = setup.parts.ops, setup.parts.problem, setup.parts.initializer
    both = setup.recipe.resolved["initializer"]["context"] == "both"
    nurse, cook, other = (
        Episode("", support, (), ("home", "work"), about)
        for support, about in ((SUPPORT, "a nurse"), (SUPPORT, "a cook of few words"), (SUPPORT[::-1][:1], "a nurse"))
    )
    batch = problem.support([nurse, cook, other])
    assert batch["context"].shape == (3, 3 if both else 1, setup.base.width)
    tokens, base = problem.readout.encoder.whole("a nurse"), ops.zeros((1, setup.layout.size))
    ready = ops.array(np.array([tokens]))
    states = setup.model.frozen_states(ready)[1] if setup.model.frozen_blocks else setup.model.hidden(base, ready)
    mean = ops.numpy(states)[0][np.array(tokens) != problem.readout.encoder.pad].mean(0)
    found = ops.numpy(batch["context"])
    np.testing.assert_allclose(found[0, -1], mean / np.sqrt((mean**2).mean()), atol=2e-3)
    rng = np.random.default_rng(1)
    start = initializer.init(rng, setup.layout.draw(rng))
    meta = ops.map_tree(lambda x: x + 0.5 * ops.array(rng.standard_normal(x.shape)), start)
    rows = ops.numpy(initializer.make({"initializer": meta}, batch, 3))
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert (np.abs(rows[0] - rows[2]).max() > 1e-3) == both  # without the examples, other ones make no difference
    alone = ops.numpy(initializer.make({"initializer": meta}, problem.support([cook]), 1))
    np.testing.assert_allclose(alone[0], rows[1], atol=2e-3)


def test_without_a_description_labels_are_named_and_without_labels_the_start_stays(setup: Any) -> None:
    ops, problem = setup.parts.ops, setup.parts.problem
    bare = Episode("", SUPPORT, (), ("work", "home"))
    assert description(bare) == "labels: home, work" == description(replace(bare, description="labels: home, work"))
    both = (bare, replace(bare, description="labels: home, work"))
    contexts = [ops.numpy(problem.support([e])["context"]) for e in both]
    np.testing.assert_array_equal(*contexts)
    nothing = problem.support([replace(bare, labels=())])
    assert ops.numpy(nothing["present"])[0, -1] == 0
    if nothing["present"].shape[1] == 1:
        start = setup.begin(0)["initializer"]
        meta = ops.map_tree(lambda x: x + 0.5, start)
        np.testing.assert_array_equal(
            ops.numpy(setup.parts.initializer.make({"initializer": meta}, nothing, 1))[0], ops.numpy(meta["start"])
        )


def test_an_encoder_of_both_tells_the_description_from_the_examples_by_its_mark() -> None:
    rng, context = np.random.default_rng(0), np.random.default_rng(1).standard_normal((1, 3, 4))
    told, plain = TaskEncoder(ops, 4, 5, described=True), TaskEncoder(ops, 4, 5)
    meta = {name: ops.array(0.5 * rng.standard_normal(shape)) for name, shape in told.shapes.items()}
    x, w = context[0], {name: ops.numpy(value).astype(np.float64) for name, value in meta.items()}
    entered = x @ w["enter"] + w["bias"]
    entered[2] += w["mark"]
    h = np.tanh(entered)
    near = np.exp((h @ w["query"]) @ (h @ w["key"]).T / np.sqrt(5))
    wanted = (h + near / near.sum(1, keepdims=True) @ (h @ w["value"])).mean(0)
    given = ops.array(context), ops.ones((1, 3))
    np.testing.assert_allclose(ops.numpy(told.embed(meta, *given))[0], wanted, rtol=1e-4)
    assert np.abs(ops.numpy(plain.embed(meta, *given))[0] - wanted).max() > 1e-2


def test_texts_that_nothing_describes_and_curves_are_refused(shared: Path, tmp_path: Path) -> None:
    lines = [{"user": user, "text": f"line {i} of {user}"} for user in "abcd" for i in range(5)]
    told = [{**line, "about": "a cook"} if line["user"] == "b" else line for line in lines]
    recipe = written(shared, tmp_path, "description")
    sets = ["tasks.kind=jsonl", "tasks.variant=null", "readout=completion"]
    for rows, name in ((lines, "bare"), (told, "told")):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sets = [f"tasks={{kind: jsonl, train: {tmp_path / name}.jsonl, shots: 2, queries: 2}}", "readout=completion"]
        checked = load_recipe(recipe, sets)
        if name == "told":
            check_descriptions(checked, checked.make("tasks"))
            continue
        with pytest.raises(RecipeError, match=r"context: description reads .* neither one nor labels; give .* 'about'"):
            check_descriptions(checked, checked.make("tasks"))
    curves = tmp_path / "curves.yaml"
    curves.write_text(
        "problem: regression\ntasks: sinusoid\nlearner: maml\ninitializer: {kind: hypernetwork, context: both}\n"
    )
    with pytest.raises(RecipeError, match=r"initializer.context: both: curves are points"):
        compose(load_recipe(curves))


def melpa(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code and "Traceback" not in done.output, done.output
    return done


def test_a_person_is_described_once_and_known_by_it_tomorrow(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    for context in ("description", "both", "support"):
        melpa("meta-train", written(shared, tmp_path, context), "--out", tmp_path / context)
    days = []
    for day in range(3):
        rows = [{"text": f"{word} {day}{i}", "label": word} for i in range(3) for word in ("home", "work")]
        days.append(tmp_path / f"{day}.jsonl")
        days[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))

    def adapt(user: str, day: int, run: str, *words: str) -> Any:
        order = ["adapt", "--user", user, days[day], "--run", tmp_path / run, "--steps", 0, *words, "--json"]
        number = json.loads(melpa(*order).stdout)["version"]
        with Store() as store:
            return store.get(user, number)

    nurse, cook = (adapt(user, 0, "description", "--description", f"a {user}") for user in ("nurse", "cook"))
    assert np.abs(nurse.state.rows - cook.state.rows).max() > 1e-5 and nurse.description == "a nurse"
    assert adapt("nurse", 1, "description").description == "a nurse"
    other = adapt("nurse", 2, "both")  # another run begins anew, from the description that is known
    assert other.description == "a nurse" and np.abs(other.state.rows - adapt("x", 2, "both").state.rows).max() > 1e-6
    np.testing.assert_array_equal(other.state.rows, adapt("y", 2, "both", "--description", "a nurse").state.rows)
    with Store() as store:
        store.put("refused", nurse, activate=False)
    assert adapt("refused", 1, "description").description == "a nurse"
    shown = melpa("adapt", "--user", "cook", days[1], "--description", "a baker")
    assert "the description is stored for a new start; this version continues version 1" in shown.stderr
    assert json.loads(melpa("users", "show", "cook", "--json").stdout)["description"] == "a baker"
    refused = melpa("adapt", "--user", "z", days[0], "--run", tmp_path / "support", "--description", "a nurse", code=1)
    assert "run 'support' reads no description; leave it out" in " ".join(refused.stderr.split())


def test_rows_of_a_crowd_describe_who_wrote_them(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    notes = [{"text": f"{word} {i}", "label": word} for i in range(2) for word in ("home", "work")]
    told = {"Ann": "a nurse", "Bob": "a cook", "Cem": ""}
    rows = [{"user": user, **row, "about": about} for user, about in told.items() for row in notes]
    (tmp_path / "crowd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in notes))
    for context in ("support", "description"):
        melpa("meta-train", written(shared, tmp_path, context), "--out", tmp_path / context)
        melpa("adapt-all", tmp_path / "crowd.jsonl", "--run", tmp_path / context, "--steps", 1)
        with Store() as store:
            found = {user: store.get(user, 1) for user in told}
            for user in told if context == "support" else ():
                store.remove(user)
        wanted = told if context == "description" else dict.fromkeys(told, "")
        assert {user: version.description for user, version in found.items()} == wanted
    order = ("--run", tmp_path / "description", "--steps", 1)
    melpa("adapt", *order, "--user", "one", tmp_path / "one.jsonl", "--description", "a nurse")
    extra = [{"user": "Cem", **row, "text": f"more {row['text']}", "about": "a baker"} for row in notes]
    (tmp_path / "crowd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in extra))
    melpa("adapt-all", *order, tmp_path / "crowd.jsonl")
    with Store() as store:
        assert store.description("Cem") == "a baker"
        near, far = (np.abs(store.get("one", 1).state.rows - found[u].state.rows).max() for u in ("Ann", "Bob"))
    assert near < far / 4, (near, far)
