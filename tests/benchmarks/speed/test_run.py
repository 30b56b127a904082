"""The frame of `melpa bench speed`, and its short form: both sides do the same work, and the JSON has its shape."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.benchmarks.speed import inner_step as step
from mlx_melpa.benchmarks.speed import startup as start
from mlx_melpa.benchmarks.speed import time_to_quality as quality
from mlx_melpa.benchmarks.speed.interleaved import Ratio, Worker, interleave, per_second
from mlx_melpa.benchmarks.speed.run import SECTIONS, speed
from mlx_melpa.benchmarks.speed.settings import Settings, number
from mlx_melpa.errors import MelpaError


class FakeWorker:
    """A worker that takes given seconds, and writes its name where it is asked."""

    def __init__(self, name: str, seconds: list[float], asked: list[str]):
        self.name, self.seconds, self.asked = name, iter(seconds), asked

    def ask(self, **order: object) -> dict[str, object]:
        assert order == {"steps": 3}
        self.asked.append(self.name)
        return {"seconds": next(self.seconds), "cpu": 2.0, "tokens": 12}


def test_sides_take_turns_and_the_ratio_is_that_of_medians() -> None:
    asked: list[str] = []
    ours, peer = FakeWorker("ours", [1, 2, 4], asked), FakeWorker("peer", [4, 4, 6], asked)
    ratio = interleave(ours, peer, 3, order={"steps": 3})  # type: ignore[arg-type]
    assert "".join(name[0] for name in asked) == "opopop"
    assert (ratio.ours, ratio.peer, ratio.pairs) == (6, 3, [4, 2, 1.5])
    found = ratio.record("tokens/s", at_least=2.5)
    assert (found["ratio"], found["cpu_ratio"], found["met"]) == (2, 1, False)


def test_rates_and_bounds() -> None:
    assert per_second({"seconds": 2, "count": 3}) == 1.5
    assert Ratio((({"seconds": 1}, {"seconds": 2}),), per_second).ours == 1
    assert number(3, "s", at_most=2) == {"value": 3, "unit": "s", "at_most": 2, "met": False}


def test_a_worker_that_dies_says_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(MelpaError, match=r"inner_step_mlx_lm ended with code 1.*(\n.*)*No such file.*examples.json"):
        Worker("inner_step_mlx_lm", {"folder": str(tmp_path)})


def test_a_peer_has_our_blas_and_nothing_else_of_our_engine() -> None:
    code = (
        "import sys; import mlx_melpa.benchmarks.speed.workers.finetune_mlx_lm; import mlx.core as mx, mlx.nn as nn; "
    )
    code += "print(nn.silu.__module__, type(mx.fast.scaled_dot_product_attention).__name__, *sys.modules)"
    silu, attention, *loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert silu == "mlx.nn.layers.activations" and attention == "nb_func"
    assert not {f"mlx_melpa.backends.mlx.{name}" for name in ("ops", "model", "adapted")} & {*loaded}


def test_what_is_not_there_is_refused_before_anything_is_measured() -> None:
    for words, said in ((["--only", "stepp"], "did you mean 'step'"), (["--peer", "axolotl"], "mlx-lm")):
        found = CliRunner().invoke(app, ["bench", "speed", *words])
        assert found.exit_code == 1 and said in found.stderr and "Traceback" not in found.output


@pytest.fixture(scope="module")
def short(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tiny base, one pair, and a run of one iteration."""
    folder = tmp_path_factory.mktemp("run")
    settings = Settings(model=str(shared / "models/stories260k"), repeats=1, short=True)
    (folder / "short.yaml").write_text(json.dumps(quality.run_recipe(settings).resolved))
    order = ["meta-train", str(folder / "short.yaml"), "--out", str(folder / "run")]
    done = CliRunner().invoke(app, order, env={"MELPA_HOME": str(folder / "home")})
    assert done.exit_code == 0, done.output
    return replace(settings, run=str(folder / "run"))


def test_both_take_the_same_steps(short: Settings) -> None:
    found = step.measure_case("completions_natural", short, lambda *_: None)
    assert found["losses_apart"] < 1e-3 and found["ratio"] == pytest.approx(found["ours"] / found["peer"])
    assert found["supervised"] < found["tokens"] and len(found["pairs"]) == 1


def test_work_that_differs_is_refused() -> None:
    one = {"losses": [2.0, 1.9], "supervised": 7}
    assert step.loss_difference("labels", one, {"losses": [2.0, 1.9005], "supervised": 7}) == pytest.approx(5e-4)
    for other in ({"losses": [2.0, 1.9], "supervised": 8}, {"losses": [2.0, 1.8], "supervised": 7}):
        with pytest.raises(MelpaError, match="did not do the same work"):
            step.loss_difference("labels", one, other)


def test_the_start_is_timed(short: Settings) -> None:
    found = start.measure(short, lambda *_: None)
    assert 0 < found["help"]["value"] < found["stored"]["value"] and found["adaptation"]["at_most"] == 1
    assert found["adaptation"]["value"] < found["stored"]["value"]


def test_time_to_quality_has_both_losses_from_one_code(short: Settings) -> None:
    found = quality.measure(short, lambda *_: None)
    assert found["ratio"] == pytest.approx(found["ours"] / found["peer"]) and found["best"]["lr"] in quality.RATES
    best = min(mark["loss"] for mark in found["curves"])
    assert found["loss"]["peer"] == best < found["loss"]["base"] and len(found["pairs"]) == 1


def test_sections_are_written_as_they_come(short: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("step", "start"):
        module = {"step": step, "start": start}[name]
        monkeypatch.setattr(module, "measure", lambda *_: {"help": number(0.1, "s")})
    monkeypatch.setattr(step, "draw", lambda *_: None)
    settings = Settings(model=short.model, out=tmp_path / "out")
    found = speed(settings, ("step", "start"))
    assert list(found) == ["machine", "step", "start"] and found["machine"]["gflops"] > 0
    assert json.loads((tmp_path / "out/speed.json").read_text()) == found
    assert {"step", "time_to_quality", "start"} <= set(SECTIONS)
