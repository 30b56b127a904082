"""`melpa prepare`: a run from nothing but a base, and from files."""

import json
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.errors import RecipeError
from mlx_melpa.store import Store
from mlx_melpa.store.run import load_run
from mlx_melpa.training.prepare import free_folder, plan

invoke = CliRunner().invoke


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.jsonl"
    rows = [
        {"user": u, "text": f"{u} says {w} again"} for u in ("ann", "bob", "cat") for w in ("yes", "no", "oh", "my")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_base_alone_is_enough(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path))
    done = invoke(app, ["prepare", str(shared / "models/stories260k"), "--iterations", "3", "--json"])
    assert done.exit_code == 0 and "3 iterations on simulated people take about" in done.stderr
    said = json.loads(done.stdout)
    assert said["run"] == str(tmp_path / "runs/stories260k") and said["iteration"] == 3
    run = load_run(said["run"])
    with Store() as store:
        assert [known.fingerprint for known in store.runs(run.setup.base.family)] == [run.fingerprint]
    layers = {int(name.split(".")[0]) for name in (s.name for s in run.setup.layout.segments) if name[0].isdigit()}
    assert layers == {3, 4} and run.setup.model.frozen_blocks == 3  # 5 blocks: the upper half


def test_files_decide_the_readout_and_the_tasks(shared: Path, people: Path) -> None:
    made = plan(str(shared / "models/stories260k"), [people], iterations=12)
    tasks = made.recipe.resolved["tasks"]
    assert (tasks["kind"], tasks["files"], tasks["shots"]) == ("mixed", [str(people)], 3)
    assert made.recipe.resolved["readout"]["kind"] == "completion" and made.seconds > 0
    splits = made.recipe.make("tasks")
    import numpy as np

    names = {splits.train.episode(np.random.default_rng(i)).name for i in range(40)}
    assert names & {"ann", "bob", "cat"} and names - {"ann", "bob", "cat"}


def test_minutes_set_the_iterations(shared: Path, people: Path) -> None:
    made = plan(str(shared / "models/stories260k"), [people], minutes=1)
    assert made.iterations >= 10 and made.seconds <= 60
    with pytest.raises(RecipeError, match="--minutes 1e-05 allows 0 iterations here; give"):
        plan(str(shared / "models/stories260k"), [people], minutes=1e-5)


def test_a_folder_is_never_taken_twice(tmp_path: Path) -> None:
    assert free_folder(tmp_path, "org/Some Model") == tmp_path / "Some-Model"
    (tmp_path / "Some-Model").mkdir()
    assert free_folder(tmp_path, "org/Some Model") == tmp_path / "Some-Model-2"
