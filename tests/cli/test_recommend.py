"""`melpa recommend`: how typical data is, which method is proposed, what is printed, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from melpa_cli.recommend import show
from typer.testing import CliRunner

from mlx_melpa.core.types import Episode, Example
from mlx_melpa.recommendation import recommend as library
from mlx_melpa.recommendation.recommend import MIN_EXAMPLES, best, leave_one_out
from mlx_melpa.recommendation.similarity import Similarity, distances, like, typical

RECIPE = """
model: %s
adapter: {kind: lora, rank: 2, layers: 2}
tasks: {kind: synthetic, variant: %s, ways: 2, shots: 2, queries: 2}
readout: %s
rule: {kind: adam, lr: 1e-2}
learner: {kind: fomaml, steps: 1}
train: {iterations: 1, tasks_per_step: 1, validate_every: 1, validation_episodes: 1, checkpoint_every: 1}
"""


def test_an_outlier_is_typical_of_nothing_and_exchangeable_points_are_uniform() -> None:
    rng = np.random.default_rng(0)
    found = [typical(distances("handcrafted", rng.standard_normal((10, 3)))) for _ in range(400)]
    # The two nearest are each other's neighbours and tie.
    assert set(np.round(np.array(found) * 10, 6)) == {*range(1, 9), 10}
    assert np.mean(found) == pytest.approx(0.56, abs=0.05)
    away = rng.standard_normal((10, 3))
    away[0] += 20
    assert typical(distances("handcrafted", away)) == 0.1
    cosines = distances("task2vec", np.array([[1.0, 0], [2, 0], [0, 3]]))
    np.testing.assert_allclose(cosines, [[0, 0, 1], [0, 0, 1], [1, 1, 0]], atol=1e-9)
    scales = distances("handcrafted", np.array([[0.0, 5, 0], [1, 5, 100]]))
    assert scales[0, 1] == pytest.approx(np.sqrt(2 * 2**2))


def test_each_example_is_asked_about_once_and_the_only_one_of_a_label_never() -> None:
    examples = [Example(f"{i}", label=label) for i, label in enumerate("aabbc")]
    found = leave_one_out(examples, ("a", "b", "c"))
    assert [e.query[0] for e in found] == examples[:4]
    for episode in found:
        assert set(episode.support) == set(examples) - set(episode.query)
        assert episode.labels == ("a", "b", "c")


def test_the_best_method_has_the_most_right_then_the_least_loss() -> None:
    found = {"a": {"accuracy": 0.5, "loss": 1.0}, "b": {"accuracy": 0.5, "loss": 0.9}, "c": {"loss": 0.1}}
    assert best(found, ("a", "b")) == "b"
    assert best({"in_context": {"loss": 1.0}, "adapt": {"loss": 1.0}}, ("in_context", "adapt")) == "adapt"
    assert best({"in_context": {"loss": 0.9}, "adapt": {"loss": 1.0}}, ("adapt", "in_context")) == "in_context"
    assert best({"prototypes": {"loss": 1.0}, "adapt run": {"loss": 1.0}}, ("prototypes", "adapt run")) == "adapt run"
    prompted = library.Recommendation((), {"in_context": {"loss": 0.9}, "adapt": {"loss": 1.0}}, "", 0, None, 1, ())
    assert prompted.in_context_is_better
    assert not library.Recommendation((), {"adapt": {"loss": 1.0}}, "", 0, None, 1, ()).in_context_is_better


def melpa(*order: object, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in order])
    assert done.exit_code == code, done.output
    return done


def written(path: Path, examples: dict[str, list[str]]) -> Path:
    rows = [{"text": text, "label": label} for label, texts in examples.items() for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_command_ranks_runs_and_methods(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mlx_melpa.recommendation.similarity.TASKS", 3)
    data = written(tmp_path / "notes.jsonl", {"home": ["pay the gas bill", "call the plumber"], "work": ["send it"]})
    said = melpa("recommend", data, code=1)
    assert "3 different examples are too few to compare methods on; give 4 at least" in said.output
    assert MIN_EXAMPLES == 4
    each = {"home": ["pay the gas bill", "call the plumber", "buy curtains"], "work": ["send it", "book a room"]}
    data = written(tmp_path / "notes.jsonl", each)
    said = melpa("recommend", data, code=1)
    assert "no known run takes labelled examples; make one with: melpa prepare" in said.output
    (tmp_path / "r.yaml").write_text(
        RECIPE % (shared / "models/stories260k", "people", "{kind: prototypes, metric: plain}")
    )
    melpa("meta-train", tmp_path / "r.yaml", "--out", tmp_path / "near")
    found = json.loads(melpa("recommend", data, "--json").stdout)
    assert found["recommended"]["run"] == "near" and found["recommended"]["rank"] == 2
    assert set(found["methods"]) == {"prototypes", "logistic_regression", "in_context", "adapt"}
    assert found["recommended"]["method"] in found["methods"] and found["held_out"] == 5
    for measures in found["methods"].values():
        assert 0 <= measures["accuracy"] <= 1 and measures["loss"] > 0
        assert measures["accuracy"] * 5 == pytest.approx(round(measures["accuracy"] * 5))
    (run,) = found["runs"]
    assert set(run["embeddings"]) == {"handcrafted", "features", "task2vec"}
    assert all(share in (0.25, 0.5, 0.75, 1.0) for share in run["embeddings"].values()) and run["tasks"]
    shown = melpa("recommend", data)
    assert "Take " in shown.stdout and "near" in shown.stdout
    assert found["command"] == f"melpa adapt --user NAME {data} --run {tmp_path / 'near'}"
    assert found["command"] in shown.stdout
    assert ("No command stores" in shown.stdout) == (found["recommended"]["method"] != "adapt")


def test_lines_of_text_are_compared_by_bits_per_byte_with_a_run_named_by_its_folder(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mlx_melpa.recommendation.similarity.TASKS", 3)
    (tmp_path / "r.yaml").write_text(RECIPE % (shared / "models/stories260k", "style", "completion"))
    melpa("meta-train", tmp_path / "r.yaml", "--out", tmp_path / "run")
    (tmp_path / "lines.txt").write_text(
        "".join(f"the {word} ran to the house\n" for word in ("dog", "cat", "cow", "ox"))
    )
    found = json.loads(melpa("recommend", tmp_path / "lines.txt", "--run", tmp_path / "run", "--json").stdout)
    assert set(found["methods"]) == {"in_context", "adapt"} and found["held_out"] == 4
    losses = {name: measures["loss"] for name, measures in found["methods"].items()}
    assert found["in_context_is_better"] == (losses["in_context"] < losses["adapt"])
    assert found["recommended"]["method"] == min(losses, key=lambda name: losses[name])
    assert "bits per byte" in melpa("recommend", tmp_path / "lines.txt", "--run", tmp_path / "run").stdout
    data = written(tmp_path / "notes.jsonl", {"a": ["one", "two"], "b": ["three", "four"]})
    said = melpa("recommend", data, "--run", tmp_path / "run", code=1)
    assert "writes text, and this has a label" in said.output and "Traceback" not in said.output


def test_data_is_cut_to_a_task_s_size_before_it_is_compared() -> None:
    data = Episode("", tuple(Example(f"{c} {i}", label=c) for c in "abc" for i in range(9)), (), ("a", "b", "c"))
    task = Episode("", tuple(Example("", label=c) for c in "xxyy"), (), ("x", "y"))
    assert [e.text for e in like(data, task).support] == ["a 0", "a 1", "b 0", "b 1"]
    texts = Episode("", tuple(Example(str(i)) for i in range(9)), ())
    assert len(like(texts, Episode("", (Example("t"),) * 4, ())).support) == 4


def told(method: str) -> library.Recommendation:
    """A recommendation for a method, of a run with a task encoder and one without."""
    alike = [Similarity(dict.fromkeys(kinds, 0.5), ("t",)) for kinds in (("features",), ("features", "learned"))]
    methods = {name: {"accuracy": 0.5, "loss": 1.0, "ci95": 0.1} for name in ("prototypes", "adapt")}
    runs = (("plain", alike[0]), ("told", alike[1]))
    return library.Recommendation(runs, methods, method, 2, None, 4, (), "runs/plain")


@pytest.mark.parametrize("method", ["prototypes", "adapt"])
def test_what_no_command_keeps_is_said_of_that_alone(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(told(method), Path("notes.jsonl"))
    shown = capsys.readouterr().out
    kept = "melpa adapt --user NAME notes.jsonl --run runs/plain"
    if method == "adapt":
        assert "Take adapting with run plain." in shown and "No command stores" not in shown
    else:
        assert "No command stores prototypes on frozen features." in shown
    assert kept in shown


def test_an_embedding_that_one_run_has_is_blank_for_others(capsys: pytest.CaptureFixture[str]) -> None:
    show(told("adapt"), Path("notes.jsonl"))
    lines = capsys.readouterr().out.splitlines()
    assert any("features" in line and "learned" in line for line in lines)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("plain", "told"))}
    assert rows == {"plain": ["0.5", "0.5", "t"], "told": ["0.5", "0.5", "0.5", "t"]}


def test_a_hypernetwork_s_own_embedding_counts(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mlx_melpa.recommendation.similarity.TASKS", 3)
    recipe = RECIPE % (shared / "models/stories260k", "people", "{kind: prototypes, metric: plain}")
    initializer = "initializer: {kind: hypernetwork, form: chunked, embedding: 4, hidden: 4, chunk: 64, place: 4}\n"
    (tmp_path / "r.yaml").write_text(recipe + initializer)
    melpa("meta-train", tmp_path / "r.yaml", "--out", tmp_path / "hyper")
    each = {"home": ["pay the gas bill", "call the plumber"], "work": ["send it", "book a room"]}
    said = json.loads(melpa("recommend", written(tmp_path / "notes.jsonl", each), "--json").stdout)
    assert set(said["runs"][0]["embeddings"]) == {"handcrafted", "features", "task2vec", "learned"}
    assert said["runs"][0]["embeddings"]["learned"] in (0.25, 0.5, 0.75, 1.0)
