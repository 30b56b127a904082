"""The commands on the second engine: one recipe on either, a person who goes from one to the other, PEFT's files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from melpa_cli.main import app
from safetensors.numpy import load_file
from typer.testing import CliRunner

from mlx_melpa.store import Store

pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
pytest.importorskip("transformers", reason="pip install 'mlx-melpa[torch]'")
Said = Callable[..., Any]
TEXTS = {"home": ["pay the gas bill", "water the plants"], "work": ["send the report", "prepare slides"]}
RECIPE = """
model: %s
adapter: {kind: lora, rank: 2, layers: 2}
tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}
readout: {kind: prototypes, metric_episodes: 4}
learner: {kind: fomaml, steps: 2}
train: {iterations: 2, tasks_per_step: 2, validate_every: 2, validation_episodes: 2}
"""


def melpa(words: list[Any], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-c", "from melpa_cli.main import app; app()", *map(str, words)]
    env = {**os.environ, "MELPA_HOME": str(folder / "home"), **env}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=True)


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Runs a command with --json in a folder with a run that torch trained, and gives what it says."""
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))

    def run(*words: object) -> Any:
        done = CliRunner().invoke(app, [*map(str, words), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


@pytest.fixture
def run(said: Said, small_llama: Path, tmp_path: Path) -> Path:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE % small_llama)
    said("meta-train", recipe, "--out", tmp_path / "run", "--backend", "torch")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["engine"]["engine"].startswith("torch ")
    return tmp_path / "run"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.jsonl"
    rows = [{"text": text, "label": label} for label, texts in TEXTS.items() for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_person_is_the_same_on_both_engines(said: Said, run: Path, notes: Path) -> None:
    found = {}
    for engine in ("mlx", "torch"):
        said("adapt", "--user", engine, notes, "--run", run, "--backend", engine)
        found[engine] = said("label", "--user", engine, "water the gas bill")
        with Store() as store:
            version = store.latest(engine)
        assert version is not None and version.origin.engine == engine
    shares = [found[engine][0]["probabilities"] for engine in ("mlx", "torch")]
    assert shares[0].keys() == shares[1].keys()
    assert all(abs(shares[0][label] - shares[1][label]) < 5e-3 for label in shares[0])  # rows are kept in fp16
    moved = said("adapt", "--user", "torch", notes_of(notes, "again"), "--backend", "mlx")
    assert moved["version"] == 2
    with Store() as store:
        assert [v.origin.engine for v in store.history("torch")] == ["torch", "mlx"]


def notes_of(path: Path, ending: str) -> Path:
    other = path.with_name(f"{ending}.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    other.write_text("".join(json.dumps({**r, "text": f"{r['text']} {ending}"}) + "\n" for r in rows))
    return other


def test_a_run_is_measured_on_either_engine(said: Said, run: Path) -> None:
    how = ("--episodes", 4, "--methods", "base,meta")
    first, second = (said("eval", run, *how, "--backend", engine) for engine in ("mlx", "torch"))
    for method in ("base", "meta"):
        assert abs(first[method]["loss"] - second[method]["loss"]) < 1e-3


def test_a_version_goes_to_peft(said: Said, run: Path, notes: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="pip install 'mlx-melpa[torch]'")
    said("adapt", "--user", "me", notes, "--run", run)
    told = said("export", "--user", "me", "--to", "peft", "--out", tmp_path / "out")
    assert told["max_difference"] <= 1e-5 * told["largest_logit"] and told["next"][0].startswith("vllm serve ")
    assert len(load_file(tmp_path / "out" / "adapter_model.safetensors")) == 2 * 2 * 7


def test_verify_and_what_an_engine_cannot_do_are_said(said: Said, run: Path) -> None:
    smooth = ("sinusoid-meta-sgd", "--set", "problem.activation=tanh")
    found = said("verify", *smooth, "--backend", "torch")  # all kinds are held by test_agreement
    assert found and all(entry["relative_error"] <= entry["limit"] for entry in found)
    wrong = CliRunner().invoke(app, ["verify", "--backend", "jax"])
    assert wrong.exit_code == 2 and "jax" in wrong.output


def test_the_doctor_says_what_torch_has(said: Said) -> None:
    import torch

    found = said("doctor")["torch"]
    assert found["version"] == torch.__version__ and found["gflops"] > 1
    assert (found["device"] == "cpu") != torch.cuda.is_available()
    assert f"{torch.__version__} on {found['device']}" in CliRunner().invoke(app, ["doctor"]).stdout


def test_the_doctor_names_a_device_that_is_not_there(tmp_path: Path) -> None:
    """In a process of its own, since the device is chosen once."""
    done = melpa(["doctor", "--json"], tmp_path, MELPA_DEVICE="gpu")
    found = json.loads(done.stdout)
    assert found["torch"] is None and found["gflops"] > 1
    assert "MELPA_DEVICE=gpu: give auto, cpu, cuda" in found["cures"][-1]


def test_a_run_is_prepared_on_torch(said: Said, small_llama: Path, tmp_path: Path) -> None:
    said("prepare", small_llama, "--backend", "torch", "--iterations", 2, "--out", tmp_path / "prepared")
    assert json.loads((tmp_path / "prepared" / "run.json").read_text())["engine"]["engine"].startswith("torch ")


def test_an_adapter_of_an_encoder_comes_back(
    said: Said, folder_of: Callable[[str], Path], notes: Path, tmp_path: Path
) -> None:
    """MLX knows no encoders: a version of one is made, exported, imported and asked on torch alone."""
    how = ("--random-start", "--model", folder_of("roberta"), "--backend", "torch", "--steps", 2)
    said("adapt", "--user", "me", notes, *how)
    asked = "water the gas bill"
    said("export", "--user", "me", "--to", "melpa", "--out", tmp_path / "out")
    wrong = CliRunner().invoke(app, ["import", "--user", "you", str(tmp_path / "out")])
    assert wrong.exit_code == 1 and "backend torch may know it" in wrong.output
    said("import", "--user", "you", tmp_path / "out", "--backend", "torch")
    mine, yours = (said("label", "--user", user, asked)[0]["probabilities"] for user in ("me", "you"))
    assert mine == yours


def test_composed_attention_is_said_in_the_log(small_llama: Path, tmp_path: Path) -> None:
    """In a process of its own, since it is said once."""
    for learner, wanted in (("fomaml", False), ("maml", True)):
        recipe = tmp_path / f"{learner}.yaml"
        recipe.write_text((RECIPE % small_llama).replace("fomaml", learner))
        words = ["meta-train", recipe, "--out", tmp_path / learner, "--backend", "torch"]
        done = melpa(words, tmp_path)
        assert ("attention is composed of plain products (eager)" in done.stderr) == wanted
