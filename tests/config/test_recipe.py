"""Recipes: defaults, overrides, data beside them, and what a learner cannot train."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toys.recipes import GOOD, Starts, said

from mlx_melpa.config.recipe import load_recipe, packaged
from mlx_melpa.config.train_settings import TrainSettings
from mlx_melpa.errors import RecipeError


def test_defaults_are_written_out_and_numbers_read_as_numbers(load: Any) -> None:
    resolved = load(GOOD).resolved
    assert resolved["rule"] == {"kind": "meta_sgd", "lr": 1e-4, "each": False}
    assert resolved["adapter"] == {"kind": "lora", "rank": 4, "scale": 2.0, "layers": "all"}
    assert resolved["learner"] == {"kind": "fomaml", "steps": 5}
    assert resolved["problem"] == {"kind": "language"}
    assert resolved["readout"] is None
    assert resolved["backend"] == "mlx"
    assert resolved["train"]["optimizer"] == {"kind": "adam", "lr": 1e-3, "betas": [0.9, 0.999]}
    assert resolved["train"]["clip"] == 1.0


def test_the_resolved_recipe_loads_to_itself(load: Any) -> None:
    first = load(GOOD, "train.optimizer={kind: adamw, weight_decay: 0}", "tasks.columns={1: no}".replace("no", "'no'"))
    assert load(first.dump()).resolved == first.resolved
    assert first.resolved["tasks"]["columns"] == {"1": "no"}


def test_make_calls_the_builder_with_its_settings(load: Any) -> None:
    read = load(GOOD)
    assert read.make("rule", "ops") == ("ops", 1e-4, False)
    assert read.kind("adapter") == "lora" and read.settings("adapter") == {"rank": 4, "scale": 2.0, "layers": "all"}
    assert read.train == TrainSettings()
    with pytest.raises(RecipeError, match="has no readout; add the key 'readout'"):
        read.make("readout")


def test_set_overrides_any_key(load: Any) -> None:
    read = load(GOOD, "train.iterations=50", "rule.lr=1e-2", "learner.steps=3", "train.clip=null", "adapter=lora")
    assert read.resolved["train"]["iterations"] == 50
    assert read.resolved["train"]["clip"] is None
    assert read.resolved["rule"]["lr"] == 0.01
    assert read.resolved["learner"] == {"kind": "fomaml", "steps": 3}
    assert read.resolved["adapter"]["rank"] == 8
    assert load(GOOD, "rule=sgd").resolved["rule"] == {"kind": "sgd"}
    assert load(GOOD, "rule=").resolved["rule"] == {"kind": "sgd"}


def test_a_set_mends_a_fault_in_the_file(load: Any) -> None:
    assert load(GOOD.replace("lr: 1e-4", "lr: -1"), "rule.lr=0.5").resolved["rule"]["lr"] == 0.5


def test_data_is_found_from_the_working_directory_then_from_the_recipe(load: Any, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "notes.jsonl").write_text("{}")
    (folder / "r.yaml").write_text(GOOD.replace("notes.jsonl", "[notes.jsonl, gone.jsonl]"))
    assert load_recipe(folder / "r.yaml").resolved["tasks"]["train"] == [str(folder / "notes.jsonl"), "gone.jsonl"]
    (tmp_path / "notes.jsonl").write_text("{}")
    read = load_recipe(folder / "r.yaml")
    assert read.resolved["tasks"]["train"][0] == str(tmp_path / "notes.jsonl")
    assert read.resolved["model"] == "pocket"


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("model: caf\xe9".encode("latin-1"))
    with pytest.raises(RecipeError, match="not UTF-8 at byte 10"):
        load_recipe(tmp_path / "latin.yaml")
    with pytest.raises(RecipeError, match=r"no recipe file .*gone\.yaml"):
        load_recipe(tmp_path / "gone.yaml")
    with pytest.raises(RecipeError, match="is a folder"):
        load_recipe(tmp_path)
    with pytest.raises(RecipeError, match="no recipe 'quickstrat'; did you mean 'quickstart'"):
        load_recipe("quickstrat")


def test_a_learner_is_refused_with_what_it_cannot_train(load: Any) -> None:
    message = said(load, GOOD.replace("learner: fomaml", "learner: reptile"))
    assert (
        "r.yaml:7: rule: learner 'reptile' trains the initializer only, so what rule 'meta_sgd' has to learn" in message
    )
    read = load(GOOD, "learner=reptile", "rule=sgd")
    with pytest.raises(RecipeError, match="recipe r: regularizer: learner 'reptile' trains the initializer only"):
        read.check_trains(Starts(), regularizer=SimpleNamespace(learnable=True))
    read.check_trains(Starts(), regularizer=SimpleNamespace(learnable=False))


@pytest.mark.parametrize("name", packaged())
def test_packaged_recipes_are_valid(name: str) -> None:
    read = load_recipe(name)
    assert packaged()[name].read_text(encoding="utf-8").startswith("# ")
    assert read.train.iterations > 0
