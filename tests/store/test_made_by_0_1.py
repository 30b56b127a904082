"""A store and runs that version 0.1 wrote (commit d2ce2bb) open, and answer as they did."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

OLD = Path(__file__).with_name("made_by_0_1")
EXPECTED = json.loads((OLD / "expected.json").read_text())


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder whose store knows where its runs are."""
    folder = shutil.copytree(OLD, tmp_path / "old")
    with sqlite3.connect(folder / "store.sqlite3") as store:
        store.execute("update runs set path = ? || path", (str(folder),))
    store.close()
    monkeypatch.setenv("MELPA_HOME", str(folder))
    return folder


def said(*words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("user", ["sorter", "coder", "plain"])
def test_labels_are_those_of_then(user: str, old: Path, shared: Path) -> None:
    model = str(shared / "models/stories260k")
    found = said("label", str(old / "ask.txt"), "--user", user, "--model", model)
    for now, then in zip(found, EXPECTED["labels"][user], strict=True):
        assert now["text"] == then["text"]
        assert now["probabilities"] == pytest.approx(then["probabilities"], abs=1e-3)


@pytest.mark.parametrize("user", ["rex", "rex2"])
def test_losses_are_those_of_then(user: str, old: Path, shared: Path) -> None:
    model = str(shared / "models/stories260k")
    found = said("score", str(old / "say.jsonl"), "--user", user, "--model", model)
    assert found["adapted"] == pytest.approx(EXPECTED["score"][user], rel=1e-3)


@pytest.mark.parametrize("run", ["sort", "code"])
def test_a_run_measures_what_it_did(run: str, old: Path, shared: Path) -> None:
    recipe = old / "runs" / run / "recipe.yaml"
    assert "/models/stories260k" in recipe.read_text()
    model = str(shared / "models/stories260k")
    found = said("eval", str(old / "runs" / run), "--episodes", "4", "--methods", "meta", "--model", model)
    assert {name: found["meta"][name] for name in EXPECTED["meta"][run]} == pytest.approx(
        EXPECTED["meta"][run], rel=1e-3
    )
