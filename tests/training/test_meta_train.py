"""The outer loop: resume after kill -9 is bit-identical, faults stop it in a sentence, checkpoints stay whole."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.errors import MelpaError, RecipeError
from mlx_melpa.training.meta_train import meta_train
from mlx_melpa.training.outer_loop import OuterLoop

SINUSOID = """
problem: {kind: regression, hidden: [10]}
tasks: {kind: sinusoid, shots: 5, queries: 5}
rule: meta_sgd
learner: {kind: maml, steps: 1}
train: {iterations: 1500, tasks_per_step: 2, checkpoint_every: 7, validate_every: 100, validation_episodes: 2, seed: 3}
"""
LANGUAGE = """
model: %s
adapter: {kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 1}
tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}
readout: {kind: prototypes, metric_episodes: 4}
rule: {kind: sgd, lr: 0.1}
learner: {kind: fomaml, steps: 1}
train: {iterations: 16, tasks_per_step: 2, checkpoint_every: 2, validate_every: 8, validation_episodes: 2}
"""
LEARNING = ("train.optimizer={kind: adam, lr: 0.01}", "train.tasks_per_step=8")
# What a person's process does: begin, or go on where a killed one stopped.
PROGRAM = """
import sys
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.training.meta_train import meta_train
for event in meta_train(load_recipe(sys.argv[1]), sys.argv[2], resume=sys.argv[3] == "resume"):
    print(event["event"], event["iteration"], flush=True)
"""


def recipe_file(folder: Path, text: str, name: str = "small.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def train(text: str, folder: Path, *sets: str, out: str = "run", **how: Any) -> list[dict[str, Any]]:
    return list(train_events(text, folder, *sets, out=out, **how))


def train_events(text: str, folder: Path, *sets: str, out: str = "run", **how: Any) -> Iterator[dict[str, Any]]:
    return meta_train(load_recipe(recipe_file(folder, text), sets), folder / out, **how)


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    how = "resume" if (out / "run.json").is_file() else "begin"
    command = [sys.executable, "-c", PROGRAM, str(recipe), str(out), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_at(process: subprocess.Popen[str], lines: int) -> bool:
    """Kills the process once it has printed some lines; says whether it had ended by then."""
    assert process.stdout is not None
    for _ in range(lines):
        if not process.stdout.readline():
            break
    sleep(random.random() * 0.01)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), errors
    return process.returncode == 0


def whole(recipe: Path, out: Path) -> bytes:
    process = start(recipe, out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return (out / "theta.safetensors").read_bytes()


def iterations(out: Path) -> list[int]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["iteration"] for line in lines if line["event"] == "step"]


def test_twenty_kills_leave_no_trace_in_a_sinusoid_run(tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, SINUSOID)
    wanted = whole(recipe, tmp_path / "whole")
    rng, out = random.Random(0), tmp_path / "killed"
    for _ in range(20):
        # On the average a life adds 18 iterations, and what it does until the signal comes.
        assert not kill_at(start(recipe, out), rng.randint(1, 35))
    left = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["iteration"]
    assert 0 < left < 1500
    assert whole(recipe, out) == wanted
    assert (out / "best" / "theta.safetensors").read_bytes() == (
        tmp_path / "whole" / "best" / "theta.safetensors"
    ).read_bytes()
    assert iterations(out) == list(range(1, 1501))


def test_kills_leave_no_trace_in_a_language_run(tmp_path: Path, shared: Path) -> None:
    recipe = recipe_file(tmp_path, LANGUAGE % (shared / "models" / "stories260k"))
    wanted = whole(recipe, tmp_path / "whole")
    for lines in (2, 4, 7):  # the first before there is a checkpoint
        assert not kill_at(start(recipe, tmp_path / "killed"), lines)
    assert whole(recipe, tmp_path / "killed") == wanted
    assert iterations(tmp_path / "killed") == list(range(1, 17))


def test_kills_leave_no_trace_where_the_learner_changes_on_the_way(tmp_path: Path) -> None:
    plus = "{kind: maml_plus_plus, steps: 2, multi_step: 0.5, first_order: 0.25}"
    recipe = recipe_file(tmp_path, SINUSOID.replace("{kind: maml, steps: 1}", plus).replace("1500", "400"))
    wanted = whole(recipe, tmp_path / "whole")
    for lines in (40, 60, 120):  # in first order, among several losses, at the end
        assert not kill_at(start(recipe, tmp_path / "killed"), lines)
    assert whole(recipe, tmp_path / "killed") == wanted
    assert iterations(tmp_path / "killed") == list(range(1, 401))


def test_events_come_in_order_and_training_learns(tmp_path: Path) -> None:
    events = train(SINUSOID, tmp_path, "train.iterations=300", *LEARNING)
    assert events[0]["event"] == "start"
    assert events[-1] == {"event": "end", "iteration": 300} | {k: events[-1][k] for k in ("seconds", "best")}
    assert [e["iteration"] for e in events if e["event"] == "validation"] == [100, 200, 300]
    losses = [e["loss"] for e in events if e["event"] == "step"]
    assert np.mean(losses[-50:]) < 0.8 * np.mean(losses[:10])
    validation = [e["loss"] for e in events if e["event"] == "validation"]
    assert events[-1]["best"] == min(validation)
    assert events[-2]["iteration"] == 300


def test_the_mean_gradient_does_not_depend_on_tasks_per_pass(tmp_path: Path) -> None:
    sets = ("train.iterations=1", "train.tasks_per_step=6")
    (one,) = [e for e in train(SINUSOID, tmp_path, *sets, out="a") if e["event"] == "step"]
    (two,) = [e for e in train(SINUSOID, tmp_path, *sets, "train.tasks_per_pass=4", out="b") if e["event"] == "step"]
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
    assert one["norm"] == pytest.approx(two["norm"], rel=1e-4)
    a, b = (load_file(tmp_path / name / "theta.safetensors") for name in "ab")
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-4)


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    train(SINUSOID, tmp_path, "train.iterations=2")
    with pytest.raises(RecipeError, match=r"already holds a run; go on with --resume, or give another --out"):
        train(SINUSOID, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("keep")
    with pytest.raises(RecipeError, match=r"is not empty and holds no run"):
        train(SINUSOID, tmp_path, out="other")


def test_a_resumed_recipe_that_differs_is_refused_by_its_keys(tmp_path: Path) -> None:
    train(SINUSOID, tmp_path, "train.iterations=2")
    with pytest.raises(RecipeError, match=r"begun with another .*train.*; resume with the recipe in") as caught:
        train(SINUSOID, tmp_path, "train.iterations=2", "train.seed=9", resume=True)
    assert "rule" not in str(caught.value).split(";")[0]
    before = (tmp_path / "run" / "theta.safetensors").read_bytes()
    events = train(SINUSOID, tmp_path, "train.iterations=2", resume=True)
    assert [e["event"] for e in events] == ["start", "end"]
    assert (tmp_path / "run" / "theta.safetensors").read_bytes() == before


def test_a_resumed_run_cuts_its_passes_as_it_did_whatever_memory_says_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OuterLoop, "choose_tasks_per_pass", lambda self: setattr(self.passes, "size", 1))
    for event in train_events(SINUSOID, tmp_path):
        if event["iteration"] == 8:  # beyond the checkpoint of the seventh
            break
    monkeypatch.undo()
    found: list[int] = []
    step = OuterLoop.step
    monkeypatch.setattr(OuterLoop, "step", lambda self, at: (found.append(self.passes.size), step(self, at))[1])
    next(event for event in train_events(SINUSOID, tmp_path, resume=True) if event["event"] == "step")
    assert found == [1]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = OuterLoop.step

    def spoiled(self: OuterLoop, iteration: int) -> Any:
        if iteration == 10:
            self.theta = self.ops.map_tree(lambda x: x * float("inf"), self.theta)
        return step(self, iteration)

    monkeypatch.setattr(OuterLoop, "step", spoiled)
    with pytest.raises(MelpaError, match=r"iteration 11: the query loss is (nan|inf).*lower rule\.lr.*is kept"):
        train(SINUSOID, tmp_path)
    kept = load_file(tmp_path / "run" / "theta.safetensors")
    assert all(np.isfinite(v).all() for v in kept.values())
    with pytest.raises(MelpaError, match=r"lower rule\.lr.* with another --out; there was no checkpoint yet"):
        train(SINUSOID, tmp_path, "train.checkpoint_every=50", out="soon")
    monkeypatch.undo()
    train(SINUSOID, tmp_path, "train.iterations=7", out="seven")
    seven = load_file(tmp_path / "seven" / "theta.safetensors")
    assert all((kept[name] == seven[name]).all() for name in seven)  # the checkpoint of iteration 7, the last before


def test_a_checkpoint_of_version_0_1_is_refused_with_a_way_out(tmp_path: Path) -> None:
    for event in train_events(SINUSOID, tmp_path):
        if event["iteration"] == 8:  # beyond the checkpoint of the seventh
            break
    path = tmp_path / "run" / "checkpoint.safetensors"
    save_file({"optimizer.step": np.zeros(1, np.float32)}, path, {"progress": "{}"})
    with pytest.raises(RecipeError, match=r"version 0\.1 wrote it.*give another --out"):
        train(SINUSOID, tmp_path, resume=True)
