"""Proto-MAML: the head it writes is that of the nearest class mean, its meta-gradients are exact, persons are rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from toys.parts import RULES, errors, labelled
from toys.words import LETTERS, WIDTH, words
from typer.testing import CliRunner

from mlx_melpa.config.build import engine
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError, RecipeError
from mlx_melpa.initializers.proto_head import proto_head
from mlx_melpa.store import Store
from mlx_melpa.store.run import load_run

RECIPE = """
model: %s
adapter: {kind: lora, rank: 2, layers: 2}
tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}
readout: {kind: linear, metric_episodes: 4, ways: 3}
initializer: proto_head
rule: {kind: adam, lr: 1e-2}
learner: {kind: fomaml, steps: 1}
train: {iterations: 2, tasks_per_step: 2, validate_every: 2, validation_episodes: 2, checkpoint_every: 2}
"""


def feature(problem: Any, row: np.ndarray, text: str) -> np.ndarray:
    """What verify_words' model makes of a text, of length 2 = sqrt(temperature): in NumPy."""
    vectors = problem.ops.numpy(problem.model.vectors).astype(np.float64)
    states = np.tanh(vectors[[1 + ord(letter) - ord("a") for letter in text]] @ row[: WIDTH**2].reshape(WIDTH, WIDTH))
    mean = states.mean(0)
    return 2 * mean / np.linalg.norm(mean)


def begun(backend: str = "mlx") -> tuple[Any, Any, list[Episode], Any, Any]:
    parts, theta, support, query = labelled("sgd", RULES["sgd"], 0, backend)
    return parts, theta, words(engine(backend), 0)[1], support, query


@pytest.mark.parametrize("backend", ["mlx", "torch"])
def test_before_any_step_scores_are_minus_squared_distances_to_class_means(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    parts, theta, episodes, support, query = begun(backend)
    rows = adapt.begin(parts, theta, support)["rows"]
    found = parts.ops.numpy(parts.problem.predict(rows, query, theta["problem"]))
    start = parts.ops.numpy(theta["initializer"]["start"]).astype(np.float64)
    assert rows.shape == (2, WIDTH**2 + 3 * (WIDTH + 1) + 1)
    for t, episode in enumerate(episodes):
        each = {c: [feature(parts.problem, start, e.text) for e in episode.support if e.label == c] for c in "abc"}
        asked = sorted(episode.query, key=lambda e: len(e.text))
        z = np.full((len(asked), 3), -np.inf)
        for i, e in enumerate(asked):
            for c, label in enumerate(episode.labels):
                away = feature(parts.problem, start, e.text) - np.mean(each[label], 0)
                z[i, c] = -(away @ away)
        wanted = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        np.testing.assert_allclose(found[t][-len(asked) :], wanted, atol=1e-4)
    assert np.abs(parts.ops.numpy(rows)[1, -WIDTH - 10 :]).max() > 0


def test_a_step_moves_the_head_and_the_adapter() -> None:
    parts, theta, _, support, _ = begun()
    first = adapt.begin(parts, theta, support)
    after = adapt.step(parts, theta, 0, first, support)["rows"]
    moved = parts.ops.numpy(after - first["rows"])
    layout = parts.problem.layout
    for name, change in ((n, w) for row in moved for n, w in layout.views(row).items()):
        assert np.abs(change).max() > 0, name
    losses = [parts.ops.numpy(parts.problem.losses(r, support, theta["problem"])) for r in (first["rows"], after)]
    assert (losses[1] < losses[0]).all()


def test_a_head_whose_class_means_are_held_constant_is_caught() -> None:
    parts, *case = labelled("sgd", RULES["sgd"], 0, "mlx")
    slopes = {part: error for part, _, error, limit in errors("maml", parts, *case) if limit == 1e-2}
    assert slopes["initializer"] < 1e-2
    problem: Any = parts.problem
    whole = problem.class_means
    problem.class_means = lambda *given: parts.ops.stop_gradient(whole(*given))
    slopes = {part: error for part, _, error, limit in errors("maml", parts, *case) if limit == 1e-2}
    assert slopes["initializer"] > 0.1


def test_rows_of_a_batch_never_mix_and_a_label_without_examples_gets_zeros() -> None:
    parts, theta, episodes, support, _ = begun()
    both = parts.ops.numpy(adapt.begin(parts, theta, support)["rows"])
    for t, episode in enumerate(episodes):
        alone = adapt.begin(parts, theta, parts.problem.support([episode]))["rows"]
        np.testing.assert_allclose(both[t], parts.ops.numpy(alone)[0], atol=1e-5)
    weights = parts.problem.layout.views(both[1])
    assert np.abs(weights["readout.weight"][:2]).min(-1).max() > 0
    assert np.array_equal(weights["readout.weight"][2], np.zeros(WIDTH)) and weights["readout.bias"][2] == 0


def test_more_labels_than_weights_and_a_readout_without_a_head_are_refused(tmp_path: Path) -> None:
    problem, _ = words(engine("mlx"), ways=2)
    four = tuple(Example("ab", label=label) for label in "abcd")
    with pytest.raises(DataError, match=r"4 labels are more than the 2 .* meta-train with readout\.ways: 4"):
        problem.support([Episode("", four, (), tuple("abcd"))])
    problem.layout = problem.model.layout
    with pytest.raises(RecipeError, match="set readout: linear"):
        proto_head(engine("mlx"), problem)
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE % "pocket")
    assert load_recipe(path).resolved["readout"]["ways"] == 3
    assert load_recipe(path, ["readout.ways=null"]).resolved["readout"]["ways"] == 2
    with pytest.raises(RecipeError, match=r"readout.ways: 3 labels are fewer than tasks.ways: 4"):
        load_recipe(path, ["tasks.ways=4"])
    assert LETTERS == 8


def melpa(*order: object) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in order])
    assert done.exit_code == 0, done.output
    return done


def test_a_person_is_a_row_with_a_head_from_meta_training_to_a_third_label(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    (tmp_path / "r.yaml").write_text(RECIPE % (shared / "models/stories260k"))
    melpa("meta-train", tmp_path / "r.yaml", "--out", tmp_path / "run")
    texts = {"home": ["pay the gas bill", "call the plumber", "buy curtains"], "work": ["send the report", "book it"]}
    rows = [{"text": text, "label": label} for label, each in texts.items() for text in each]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    melpa("adapt", "--user", "me", tmp_path / "notes.jsonl", "--run", tmp_path / "run", "--steps", "2")
    setup = load_run(tmp_path / "run").setup
    with Store() as store:
        version = store.latest("me")
    width = setup.base.width * 2
    names = {s.name: s.size for s in setup.layout.segments}
    assert names["readout.weight"] + names["readout.bias"] == 3 * (width + 1)
    assert version is not None and version.state.rows.shape == (1, setup.layout.size)
    assert version.state.means is None
    more = [*rows, {"text": "swim ten lanes", "label": "sport"}, {"text": "run to the lake", "label": "sport"}]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in more))
    melpa("adapt", "--user", "me", tmp_path / "more.jsonl", "--steps", "1")
    labels = json.loads(melpa("label", "--user", "me", tmp_path / "notes.jsonl", "--json").stdout)
    assert len(labels) == 5
    found = melpa("eval", tmp_path / "run", "--episodes", "2", "--tuning-episodes", "2", "--methods", "base,meta")
    assert "meta-learned" in found.stdout
