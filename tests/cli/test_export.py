"""`melpa export` and `melpa import`: from a stored version to files, and back to a version."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.store import Store, UserState, Version
from mlx_melpa.store import run as runs

READOUT = [f"readout.{name}" for name in ("attention", "center", "metric", "log_scale")]
RECIPE = """
model: {model}
adapter: {adapter}
tasks: {{kind: synthetic}}
readout: {{kind: prototypes, temperature: 5.0}}
learner: {{kind: fomaml, steps: 2}}
"""
LORA = "{kind: lora, rank: 2, scale: 3.0, sites: [q_proj, up_proj], layers: 2}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def adapted(home: Path, shared: Path) -> Callable[..., Version]:
    """Makes a run of an adapter on stories260k, and a version of 'me' that was adapted with it."""

    def make(adapter: str = LORA) -> Version:
        model, folder = shared / "models" / "stories260k", home / "run"
        folder.mkdir()
        (home / "recipe.yaml").write_text(RECIPE.format(model=model, adapter=adapter))
        recipe = load_recipe(home / "recipe.yaml")
        setup = compose(recipe)
        base = setup.base
        info = {
            "base": {"name": base.name, "family": base.family, "weights": base.weights},
            "readout": None,
            "seen": [],
        }
        runs.write(folder, recipe, info)
        runs.save(folder, "theta", setup.parts.ops, setup.begin(0))
        row = np.random.default_rng(0).normal(0, 0.1, (1, setup.layout.size)).astype(np.float16)
        state = UserState(row.astype(np.float32), np.eye(2, 128, dtype=np.float16), np.array([2, 2], np.int32))
        print_ = runs.fingerprint(folder)
        version = Version(
            state, setup.layout, base.family, base.name, base.weights, print_, examples=4, labels=("work", "Дом")
        )
        with Store() as store:
            store.add_run("run", folder, print_, base.family)
            store.put("me", version)
        return version

    return make


def melpa(*words: Any) -> Any:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def refused(*words: Any) -> str:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 1 and done.stdout == "", done.output
    return done.stderr


def test_lora_goes_to_mlx_lm_and_comes_back(home: Path, adapted: Callable[..., Version]) -> None:
    version, out = adapted(), home / "out"
    told = melpa("export", "--user", "me", "--out", out)
    assert told["files"] == {p.name: p.stat().st_size for p in out.iterdir()}
    assert told["largest_logit"] > 0 and told["max_difference"] <= 1e-4 * told["largest_logit"]
    assert told["left_out"] == [*READOUT, "means", "counts"]
    assert told["next"][0].startswith(f"mlx_lm.generate --model {version.base_name} --adapter-path {out} ")
    back = melpa("import", "--user", "you", out)
    assert (back["version"], back["run"], back["adapter"]["layers"]) == (1, None, [3, 4])
    with Store() as store:
        mine = store.latest("you")
    assert mine is not None and (mine.kind, mine.parent, mine.base_family) == ("import", None, version.base_family)
    assert np.array_equal(mine.state.rows[0], version.state.rows[0, : mine.layout.size])
    again = melpa("export", "--user", "you", "--out", home / "again")
    assert again["left_out"] == []
    for name in ("adapters.safetensors", "adapter_config.json"):
        first, second = ((home / folder / name).read_bytes() for folder in ("out", "again"))
        assert name.endswith("json") or first == second


@pytest.mark.parametrize("adapter", [LORA, "{kind: bottleneck, width: 4}"])
def test_melpa_files_keep_everything(home: Path, adapted: Callable[..., Version], adapter: str) -> None:
    version, out = adapted(adapter), home / "out"
    told = melpa("export", "--user", "me", "--out", out, "--to", "melpa")
    assert list(told["files"]) == ["melpa.safetensors"] and told["left_out"] == []
    back = melpa("import", "--user", "you", out)
    assert (back["run"], back["labels"]) == (version.run, ["work", "Дом"])
    with Store(home / "elsewhere"):
        pass
    other = CliRunner(env={"MELPA_HOME": str(home / "elsewhere")})
    assert other.invoke(app, ["import", "--user", "me", str(out)]).exit_code == 0
    done = other.invoke(app, ["export", "--user", "me", "--out", str(home / "again"), "--to", "melpa"])
    assert done.exit_code == 0, done.stderr
    with Store(home / "elsewhere") as store:
        mine = store.latest("me")
    assert mine is not None and mine.run is None and mine.labels == version.labels
    assert mine.layout == version.layout
    for name, array in version.state.arrays().items():
        assert np.array_equal(mine.state.arrays()[name], array)


def test_a_file_of_version_0_1_opens_without_its_run(home: Path, adapted: Callable[..., Version]) -> None:
    adapted()
    melpa("export", "--user", "me", "--out", home / "out", "--to", "melpa")
    path = home / "out" / "melpa.safetensors"
    with safe_open(path, framework="numpy") as file:
        described = file.metadata()
    described["run"], readout = "", json.loads(described["readout"])
    described["readout"] = json.dumps({**readout, "primed": readout.pop("metric_episodes")})
    save_file(load_file(path), path, described)
    melpa("import", "--user", "you", home / "out")
    mine, yours = (melpa("label", "a call", "--user", user) for user in ("me", "you"))
    assert yours[0]["probabilities"] == pytest.approx(mine[0]["probabilities"], abs=1e-3)


def test_what_a_person_reads(home: Path, adapted: Callable[..., Version]) -> None:
    adapted()
    shown = CliRunner().invoke(app, ["export", "--user", "me", "--out", str(home / "out")])
    assert "version 1 of 'me'" in shown.stdout and "adapters.safetensors" in shown.stdout
    assert "Loaded in mlx-lm: its logits differ from ours by at most" in shown.stdout
    assert "left out, since mlx-lm has no place for it: " + ", ".join([*READOUT, "means", "counts"]) in shown.stderr
    shown = CliRunner().invoke(app, ["import", "--user", "you", str(home / "out")])
    assert shown.stdout.startswith("Version 1 of 'you': lora on ") and "comes without a run" in shown.stderr


def test_a_run_that_was_moved_is_named(home: Path, adapted: Callable[..., Version]) -> None:
    adapted()
    (home / "run").rename(home / "moved")
    assert "which was moved or deleted" in refused("export", "--user", "me", "--out", home / "out")
    melpa("export", "--user", "me", "--out", home / "out", "--run", home / "moved")
    melpa("export", "--user", "me", "--out", home / "out")
    with (home / "moved" / "recipe.yaml").open("a") as file:
        file.write("# another run\n")
    message = refused("export", "--user", "me", "--out", home / "out", "--run", home / "moved")
    assert "was adapted with run" in message and "leave out --run" in message


def test_faults_are_one_line_and_write_nothing(home: Path, adapted: Callable[..., Version]) -> None:
    out = home / "out"
    assert "no adapter for user 'no one'" in refused("export", "--user", "no one", "--out", out)
    version = adapted("{kind: bottleneck, width: 4}")
    assert "write it with: --to melpa" in refused("export", "--user", "me", "--out", out)
    assert "not for 'pocket'" in refused("export", "--user", "me", "--out", out, "--to", "melpa", "--model", "pocket")
    assert not out.exists()
    assert f"there is no adapter in {out}" in refused("import", "--user", "me", out)
    melpa("export", "--user", "me", "--out", out, "--to", "melpa")
    assert "does not fit this adapter" in refused("import", "--user", "me", out, "--model", "pocket")
    with Store() as store:
        assert [v.number for v in store.history("me")] == [1]
        store.put("me", replace(version, base_weights="other"))
    message = refused("export", "--user", "me", "--out", out, "--to", "melpa")
    assert "allow that with --allow-other-weights" in message
    melpa("export", "--user", "me", "--out", out, "--to", "melpa", "--allow-other-weights")


def test_mlx_lms_own_numbers_are_kept_in_full(home: Path, adapted: Callable[..., Version]) -> None:
    import mlx.core as mx

    adapted()
    melpa("export", "--user", "me", "--out", home / "out")
    path = home / "out" / "adapters.safetensors"
    weights: Any = mx.load(str(path))
    weights = {name: value * 1.0001 for name, value in weights.items()}
    mx.eval(weights)
    mx.save_safetensors(str(path), weights)
    melpa("import", "--user", "you", home / "out")
    with Store() as store:
        mine = store.latest("you")
    assert mine is not None
    stored = mine.layout.views(mine.state.rows[0])["4.mlp.up_proj.lora_b"]
    assert np.array_equal(stored, np.array(weights["model.layers.4.mlp.up_proj.lora_b"]))
