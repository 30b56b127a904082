"""`melpa meta-train`: what is shown, registered, tracked and said when stopped."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.store import Store
from mlx_melpa.store.run import fingerprint

invoke = CliRunner().invoke
SINUSOID = ["--set", "train.checkpoint_every=5", "--set", "train.validate_every=10", "--set", "train.iterations=10"]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))


def test_a_run_is_registered_and_summed_up(small: Callable[..., Path], tmp_path: Path) -> None:
    done = invoke(app, ["meta-train", str(small()), "--out", str(tmp_path / "run"), "--json"])
    said = json.loads(done.stdout)
    assert (
        said["iteration"] == 2 and 0 <= said["accuracy"] <= 1 and said["fingerprint"] == fingerprint(tmp_path / "run")
    )
    with Store() as store:
        (known,) = store.runs()
    assert (known.name, known.path, known.fingerprint) == ("run", tmp_path / "run", said["fingerprint"])


def test_a_run_without_a_model_is_shown_and_not_registered(tmp_path: Path) -> None:
    done = invoke(app, ["meta-train", "sinusoid-maml", "--out", str(tmp_path / "s"), *SINUSOID])
    assert done.exit_code == 0 and "loss on unseen tasks" in done.stdout and "Next" not in done.stdout
    with Store() as store:
        assert store.runs() == []
    again = invoke(app, ["meta-train", "sinusoid-maml", "--out", str(tmp_path / "s"), *SINUSOID])
    assert again.exit_code == 1 and "already holds a run; go on with --resume" in again.stderr


def test_metrics_go_to_a_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str):
            assert folder == str(tmp_path / "t/tensorboard")

        def add_scalar(self, name: str, value: float, at: int) -> None:
            seen.append((name, value, at))

        def close(self) -> None:
            seen.append(("closed", 0, 0))

    module = ModuleType("tensorboardX")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    order = ["meta-train", "sinusoid-maml", "--out", str(tmp_path / "t"), "--logger", "tensorboard", *SINUSOID]
    assert invoke(app, order).exit_code == 0
    assert [at for name, _, at in seen if name == "train/loss"] == list(range(1, 11))
    assert [at for name, _, at in seen if name == "validation/loss"] == [10] and seen[-1][0] == "closed"


@pytest.mark.parametrize(
    ("kind", "text"), [("wandb", "pip install 'mlx-melpa[track]'"), ("paper", "give tensorboard or wandb")]
)
def test_a_logger_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    done = invoke(app, ["meta-train", "sinusoid-maml", "--out", str(tmp_path / "x"), "--logger", kind])
    assert done.exit_code == 1 and text in done.stderr and not (tmp_path / "x").exists()


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    start = [sys.executable, "-c", "from melpa_cli.main import app; app(prog_name='melpa')", "meta-train"]
    sets = ["--set", "train.iterations=100000", "--set", "train.checkpoint_every=2"]
    order = [*start, "sinusoid-maml", "--out", str(out), *sets]
    # a shell that runs the tests in the background hands them a Ctrl-C that is ignored
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(order, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, heeded)
    for _ in range(600):
        if (out / "theta.safetensors").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    assert (out / "checkpoint.safetensors").exists()
    following = said.split("resume with: melpa ")[1].split()
    assert following == ["meta-train", str(out / "recipe.yaml"), "--out", str(out), "--resume"]
    # what was set is part of it: a resumed recipe must be the one that began
    assert load_recipe(following[1]).resolved == load_recipe("sinusoid-maml", sets[1::2]).resolved
