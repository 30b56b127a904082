"""Two ranks on one machine, by each engine's own launcher: the weights of one rank, and an end when a rank ends."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from melpa_cli.main import app
from safetensors.numpy import load_file
from typer.testing import CliRunner

from mlx_melpa.store import Store

BIN = Path(sys.executable).parent
RECIPE = """
backend: %s
problem: {kind: regression, hidden: [10], activation: tanh}
tasks: {kind: sinusoid, shots: 5, queries: 5}
rule: meta_sgd
learner: {kind: maml, steps: 1}
train: {iterations: %d, tasks_per_step: 4, checkpoint_every: 5, validate_every: 10, validation_episodes: 4, seed: 3}
"""
ENGINES = [
    "mlx",
    pytest.param(
        "torch",
        marks=pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="pip install 'mlx-melpa[torch]'"),
    ),
]
pytestmark = [
    pytest.mark.skipif(not (BIN / "mlx.launch").is_file(), reason="mlx.launch is not beside this Python"),
    pytest.mark.parametrize("backend", ENGINES),
]
PEOPLE = """
backend: %s
model: %s
adapter: {kind: lora, rank: 2, layers: 1}
tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}
readout: {kind: prototypes, metric_episodes: 0}
learner: {kind: fomaml, steps: 1}
train: {iterations: 1, tasks_per_step: 2, validate_every: 1, validation_episodes: 2}
"""
PROGRAM = "from melpa_cli.main import app; app()"


@pytest.fixture
def port() -> int:
    """A port of this test's own, so that tests side by side don't meet."""
    return 20_000 + os.getpid() % 20_000


def start(backend: str, count: int, port: int, folder: Path, *words: str) -> subprocess.Popen[str]:
    """A command of melpa in `folder`, by the engine's launcher where there are several ranks."""
    program = folder / "melpa.py"
    program.write_text(PROGRAM)
    launchers = {
        "mlx": [str(BIN / "mlx.launch"), "-n", str(count), "--starting-port", str(port), "--python", sys.executable],
        "torch": [str(BIN / "torchrun"), "--nproc-per-node", str(count), "--master-port", str(port), "--"],
    }
    command = [*(launchers[backend] if count > 1 else [sys.executable]), str(program), *words]
    env = {**os.environ, "MELPA_HOME": str(folder / "home"), "MELPA_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, text=True, env=env, **quiet)  # type: ignore[call-overload]


def launch(
    backend: str, count: int, port: int, folder: Path, iterations: int, out: str, *more: str
) -> subprocess.Popen[str]:
    recipe = folder / f"recipe-{iterations}.yaml"
    recipe.write_text(RECIPE % (backend, iterations))
    return start(backend, count, port, folder, "meta-train", str(recipe), "--out", str(folder / out), "--json", *more)


def theta(folder: Path) -> np.ndarray:
    return np.concatenate([part.reshape(-1) for part in load_file(folder / "theta.safetensors").values()])


def test_two_ranks_give_the_weights_of_one(backend: str, port: int, tmp_path: Path) -> None:
    for count in (1, 2):
        done = launch(backend, count, port, tmp_path, 10, f"run{count}")
        said, _ = done.communicate(timeout=120)
        assert (tmp_path / f"run{count}" / "theta.safetensors").is_file(), said
    one, two = theta(tmp_path / "run1"), theta(tmp_path / "run2")
    assert np.linalg.norm(two - one) <= 1e-5 * np.linalg.norm(one)
    lines = [(tmp_path / f"run{n}" / "metrics.jsonl").read_text().splitlines() for n in (1, 2)]
    events = [[json.loads(line) for line in own] for own in lines]
    assert [e["event"] for e in events[0]] == [e["event"] for e in events[1]]
    for a, b in zip(*events, strict=True):
        assert abs(a["loss"] - b["loss"]) <= 1e-4 * abs(a["loss"])


def of_rank(rank: int, backend: str, folder: Path) -> int:
    """The process of a rank that runs this test's program."""
    name = {"mlx": "MLX_RANK", "torch": "RANK"}[backend]
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            found = environ.read_bytes().split(b"\0")
            argv = (environ.parent / "cmdline").read_bytes()
        except OSError:
            continue
        mine = str(folder).encode() in argv and f"{name}={rank}".encode() in found
        if mine and b"mlx.launch" not in argv and b"torchrun" not in argv:
            return int(environ.parent.name)
    raise AssertionError(f"no process of rank {rank}")


def test_people_are_shared_over_ranks_and_stored_once(
    backend: str, port: int, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    recipe, file, run = (str(tmp_path / name) for name in ("people.yaml", "people.jsonl", "run"))
    Path(recipe).write_text(PEOPLE % (backend, shared / "models" / "stories260k"))
    rows = [{"user": f"u{i}", "text": f"note {i} {k}", "label": f"l{k % 2}"} for i in range(40) for k in range(4)]
    Path(file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert CliRunner().invoke(app, ["meta-train", recipe, "--out", run]).exit_code == 0
    order = ["adapt-all", file, "--run", run, "--json"]
    said, _ = start(backend, 2, port, tmp_path, *order).communicate(timeout=180)
    assert "{" in said, said
    first = json.loads(said[said.index("{") : said.rindex("}") + 1])
    again = json.loads(CliRunner().invoke(app, order).stdout)
    assert [(t["adapted"], t["before"], t["ranks"]) for t in (first, again)] == [(40, 0, 2), (0, 40, 1)]
    with Store() as store:
        assert {len(store.history(f"u{i}")) for i in range(40)} == {1}


def test_a_rank_that_dies_ends_the_run_and_another_number_goes_on(backend: str, port: int, tmp_path: Path) -> None:
    out = tmp_path / "run"
    going = launch(backend, 2, port, tmp_path, 100_000, "run")
    began = monotonic()
    while not (out / "theta.safetensors").is_file():
        assert going.poll() is None, going.communicate()[0]
        assert monotonic() - began < 60
        sleep(0.1)
    os.kill(of_rank(1, backend, tmp_path), signal.SIGKILL)
    killed = monotonic()
    said, _ = going.communicate(timeout=60)
    assert monotonic() - killed < 60
    assert "rank 1 exited with code -9" in said or "rank      : 1 (local_rank: 1)" in said, said
    reached = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["iteration"]
    assert np.isfinite(theta(out)).all()
    kept = reached - reached % 5
    text = (out / "recipe.yaml").read_text().replace("iterations: 100000", f"iterations: {kept + 10}")
    (out / "recipe.yaml").write_text(text)
    alone = launch(backend, 1, port, tmp_path, kept + 10, "run", "--resume")
    said, _ = alone.communicate(timeout=120)
    assert alone.returncode == 0, said
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["iteration"] == kept + 10
