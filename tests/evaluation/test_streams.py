"""Meta-training on streams: it learns, goes on where it was killed, foretells its cost, and refuses what can't be."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.errors import DataError, RecipeError
from mlx_melpa.training.estimate import estimate
from mlx_melpa.training.meta_train import meta_train

SINUSOID = """
problem: {kind: regression, hidden: [10], activation: tanh}
tasks: {kind: sinusoid, shots: 5, queries: 5}
rule: {kind: meta_sgd, lr: 0.05}
learner: {kind: maml, steps: 2}
train:
  stream: 3
  iterations: 60
  tasks_per_step: 4
  optimizer: {kind: adam, lr: 0.01}
  checkpoint_every: 4
  validate_every: 30
  validation_episodes: 5
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "sines.yaml"
    path.write_text(SINUSOID)
    return path


@pytest.fixture
def words(tmp_path: Path, shared: Path) -> Path:
    """Four groups of three labels, ten examples each, on a tiny model that answers with letters."""
    rows = [
        {"text": f"{topic} {word} number {i}", "label": f"{topic} {word}", "topic": topic}
        for topic in ("garden", "school", "market", "river")
        for word in ("red", "blue", "tall")
        for i in range(12)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "words.yaml"
    path.write_text(
        f"model: {shared}/models/stories260k\nadapter: {{kind: lora, rank: 2, layers: 1, sites: [q_proj, v_proj]}}\n"
        "tasks: {kind: jsonl, train: rows.jsonl, group: topic, label: label, ways: 2, shots: 2, queries: 2,\n"
        "  hold_out: [market, river], validation: 0}\n"
        "readout: {kind: labels, words: letters}\nrule: {kind: meta_sgd, lr: 0.3}\nlearner: {kind: fomaml, steps: 2}\n"
        "train: {stream: 2, iterations: 3, tasks_per_step: 2, validate_every: 3, validation_episodes: 2}\n"
    )
    return path


def trained(recipe: Path, out: Path, *sets: str, **how: Any) -> list[dict[str, Any]]:
    return list(meta_train(load_recipe(recipe, sets), out, **how))


def test_the_outer_loss_falls_and_validation_counts_all_tasks_at_the_end(recipe: Path, tmp_path: Path) -> None:
    events = trained(recipe, tmp_path / "run")
    losses = [e["loss"] for e in events if e["event"] == "step"]
    assert np.mean(losses[-15:]) < 0.9 * np.mean(losses[:15])
    checks = [e for e in events if e["event"] == "validation"]
    assert [e["iteration"] for e in checks] == [30, 60]
    assert all(e["measure"] == "loss" and {"loss", "bwt"} <= set(e) for e in checks)


def test_a_run_that_was_stopped_ends_where_a_whole_one_does(recipe: Path, tmp_path: Path) -> None:
    trained(recipe, tmp_path / "whole", "train.iterations=12")
    begun = meta_train(load_recipe(recipe, ["train.iterations=12"]), tmp_path / "cut")
    assert len(list(islice(begun, 7))) == 7
    begun.close()
    trained(recipe, tmp_path / "cut", "train.iterations=12", resume=True)
    whole, cut = ((tmp_path / name / "theta.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_passes_do_not_change_what_streams_teach(recipe: Path, tmp_path: Path) -> None:
    one, two = (
        trained(recipe, tmp_path / str(size), "train.iterations=1", f"train.tasks_per_pass={size}")[1]
        for size in (4, 3)
    )
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
    assert one["norm"] == pytest.approx(two["norm"], rel=1e-4)


def test_the_cost_is_foretold(recipe: Path) -> None:
    found = estimate(load_recipe(recipe))
    assert found.iterations == 60 and 0 < found.seconds < 600 and found.validation > 0


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("learner=reptile", "learner 'reptile' is for single tasks, and train.stream asks for 3 that follow"),
        ("regularizer=ewc", "what regularizer 'ewc' carries from task to task has no derivative here"),
        ("train.stream=0", "train.stream: expected a whole number at least 1, found 0"),
    ],
)
def test_what_can_t_learn_from_streams_is_refused(recipe: Path, option: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        load_recipe(recipe, [option])
    assert load_recipe(recipe, ["train.stream=1", "learner=reptile", "rule=sgd"]).resolved["train"]["stream"] == 1


def test_too_few_groups_are_refused(words: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"takes 3 groups, and training has 2; lower train\.stream"):
        trained(words, tmp_path / "run", "train.stream=3")


def test_a_run_of_streams_is_tested_on_streams_it_did_not_see(
    words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))

    def said(*order: str) -> Any:
        done = CliRunner().invoke(app, [*order, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    run = str(tmp_path / "run")
    assert 0 <= said("meta-train", str(words), "--out", run)["accuracy"] <= 1
    few = ("--methods", "naive", "--orders", "2", "--seeds", "1", "--rates", "1e-2")
    found = said("bench", "continual", run, *few)
    assert found["tasks"] == ["market", "river"], "training saw the other two"
    assert found["steps"] == 2 and found["shots"] == 2, "the run's own"
    assert list(found["methods"]) == ["naive", "naive from run"]
    assert all(0 <= entry["bwt"]["mean"] + 1 <= 2 for entry in found["methods"].values())
    assert set(found["recipe"]["readout"].values()) >= {"labels", "letters"}
