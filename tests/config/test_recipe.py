"""Recipes: every mistake is named with its place, its value and what is allowed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest

import mlx_melpa.config.recipe as recipe_module
from mlx_melpa.config import checks
from mlx_melpa.config.recipe import InvalidRecipe, Recipe, load_recipe, packaged
from mlx_melpa.config.train_settings import TrainSettings
from mlx_melpa.core.bounds import Bounds, Count, Positive, Share
from mlx_melpa.errors import RecipeError


class Starts:
    trains = frozenset({"initializer"})


class Rates(tuple[str, float, bool]):
    learnable = True


def jsonl(
    *,
    train: str | list[str],
    shots: Count = 5,
    queries: Count | None = 5,
    hold_out: list[str] | Share = 0.2,
    columns: dict[str, str] = {},  # noqa: B006
) -> dict[str, Any]:
    return {"train": train, "shots": shots, "queries": queries, "hold_out": hold_out, "columns": columns}


def lora(
    *,
    rank: Annotated[int, Bounds(1, 256)] = 8,
    scale: Positive = 2.0,
    layers: Literal["all"] | Count | list[int] = "all",
) -> tuple[int, float]:
    return rank, scale


def meta_sgd(ops: str, *, lr: Positive = 0.1, each: bool = False) -> Rates:
    return Rates((ops, lr, each))


def reptile(parts: str, *, steps: Count = 5) -> Starts:
    return Starts()


def plain() -> str:
    return "plain"


def fomaml(ops: str, *, steps: Count = 5) -> int:
    return steps


TABLES = {
    "adapter": {"lora": lora},
    "tasks": {"jsonl": jsonl, "sinusoid": plain},
    "problem": {"language": plain, "regression": plain},
    "readout": {"prototypes": plain, "completion": plain},
    "initializer": {"universal": plain},
    "rule": {"meta_sgd": meta_sgd, "sgd": plain},
    "regularizer": {"none": plain},
    "sampler": {"uniform": plain},
    "learner": {"fomaml": fomaml, "maml": fomaml, "reptile": reptile},
}
GOOD = """\
# a comment
model: pocket
adapter: {kind: lora, rank: 4}
tasks:
  kind: jsonl
  train: notes.jsonl
rule:
  kind: meta_sgd
  lr: 1e-4
learner: fomaml
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(recipe_module, "kinds", TABLES.__getitem__)
    monkeypatch.setattr(checks, "kinds", TABLES.__getitem__)
    monkeypatch.chdir(tmp_path)

    def loads(text: str, *sets: str) -> Recipe:
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        return load_recipe("r.yaml", sets)

    return loads


def said(load: Any, text: str, *sets: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(text, *sets)
    return str(caught.value)


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


def test_all_faults_come_at_once_with_their_lines(load: Any) -> None:
    text = GOOD.replace("rank: 4", "rank: 0, rnak: 2").replace("learner: fomaml", "learner: fomalm\ntrian: {}")
    with pytest.raises(InvalidRecipe) as caught:
        load(text)
    faults = caught.value.faults
    assert [(f.place.line, f.key) for f in faults] == [
        (3, "adapter.rnak"),
        (3, "adapter.rank"),
        (10, "learner.kind"),
        (11, "trian"),
    ]
    message = str(caught.value)
    assert message.startswith("4 faults in recipe r.yaml\n")
    assert (
        "r.yaml:3: adapter.rnak: unknown setting 'rnak'; did you mean 'rank'? (known: layers, rank, scale)" in message
    )
    assert "adapter.rank: expected a whole number at least 1 and at most 256, found 0" in message
    assert "unknown kind 'fomalm'; did you mean 'fomaml'?" in message
    assert "r.yaml:11: trian: unknown key; did you mean 'train'?" in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rank: 4", "rank: 4, rank: 5", "r.yaml:3: adapter.rank: written twice, on lines 3 and 3"),
        ("learner: fomaml", "learner: fomaml\nmodel: x", "r.yaml:2: model: written twice, on lines 2 and 11"),
        ("rank: 4", "rank: four", "adapter.rank: expected a whole number at least 1 and at most 256, found 'four'"),
        ("rank: 4", "rank: 1.5", "adapter.rank: expected a whole number at least 1 and at most 256, found 1.5"),
        ("rank: 4", "rank: true", "found true"),
        ("lr: 1e-4", "lr: 0", "r.yaml:9: rule.lr: expected a number more than 0, found 0"),
        ("lr: 1e-4", "lr: .nan", "rule.lr: expected a number more than 0, found nan"),
        ("lr: 1e-4", "lr: 0.1\n  each: 1", "rule.each: expected true or false, found 1"),
        ("train: notes.jsonl", "shots: 3", "r.yaml:4: tasks: missing setting 'train': text, or a list of (text)"),
        ("train: notes.jsonl", "train: n\n  hold_out: 1.5", "a list of (text), or a number at least 0 and at most 1"),
        ("train: notes.jsonl", "train: n\n  queries: 0", "a whole number at least 1, or null, found 0"),
        ("rank: 4", "layers: al", "'all', or a whole number at least 1, or a list of (a whole number), found 'al'"),
        ("model: pocket", "model: no", "r.yaml:2: model: expected text, or null, found false"),
        ("model: pocket\n", "", "missing key 'model', or 'problem' for one without a language model"),
        ("learner: fomaml", "", "r.yaml:1: missing key 'learner': a kind (fomaml, maml, reptile)"),
        ("adapter: {kind: lora, rank: 4}", "", "missing key 'adapter': a kind (lora)"),
        (
            "learner: fomaml",
            "learner: [fomaml]",
            "learner: expected a kind (fomaml, maml, reptile) or {kind: ..., its settings}",
        ),
        ("learner: fomaml", "learner: {steps: 3}", "found {'steps': 3}"),
        (
            "learner: fomaml",
            "learner: fomaml\nproblem: regression",
            "'regression' brings its own network and has no model",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\nbackend: mxl",
            "backend: expected 'mlx' or 'torch', found 'mxl'; did you mean 'mlx'?",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\ntrain: [1]",
            "r.yaml:11: train: expected a mapping of settings, found [1]",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\ntrain:\n  optimizer: {kind: adma}",
            "r.yaml:12: train.optimizer.kind: unknown kind 'adma'; did you mean 'adam'?",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\ntrain:\n  optimizer:\n    kind: adam\n    betas: [0.9, 2]",
            "r.yaml:14: train.optimizer.betas[1]: expected a number at least 0 and at most 0.99999, found 2",
        ),
        ("rule:\n  kind", "rule:\n\tkind", "r.yaml:8: a tab; YAML indents with spaces only"),
        ("rank: 4}", "rank: 4", "r.yaml:4: "),
        ("lr: 1e-4", "lr: 2024-13-45", "rule.lr: '2024-13-45' can't be read"),
        ("lr: 1e-4", "lr: !!python/object:os.system x", "r.yaml:9: could not determine a constructor"),
        ("rank: 4", "? [a] : 4", "line 3: a key has to be text"),
        ("rank: 4}", "layers: &loop [*loop]}", "an alias that holds itself"),
        ("# a comment", "# \x07", "r.yaml:1: a character that YAML does not allow"),
    ],
)
def test_a_mistake_is_named_with_its_place(load: Any, old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in said(load, GOOD.replace(old, new))


@pytest.mark.parametrize(("text", "found"), [("- a\n- b\n", "a list"), ("", "nothing"), ("hello", "'hello'")])
def test_the_root_is_a_mapping(load: Any, text: str, found: str) -> None:
    message = said(load, text)
    assert message.startswith("r.yaml:1: a recipe maps keys (model, adapter,")
    assert message.endswith(f"found {found}")


def test_set_overrides_any_key(load: Any) -> None:
    read = load(GOOD, "train.iterations=50", "rule.lr=1e-2", "learner.steps=3", "train.clip=null", "adapter=lora")
    assert read.resolved["train"]["iterations"] == 50
    assert read.resolved["train"]["clip"] is None
    assert read.resolved["rule"]["lr"] == 0.01
    assert read.resolved["learner"] == {"kind": "fomaml", "steps": 3}
    assert read.resolved["adapter"]["rank"] == 8
    assert load(GOOD, "rule=sgd").resolved["rule"] == {"kind": "sgd"}
    assert load(GOOD, "rule=").resolved["rule"] == {"kind": "sgd"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "train.iterations=0",
            "--set train.iterations=0: train.iterations: expected a whole number at least 1, found 0",
        ),
        ("train.iteration=5", "--set train.iteration=5: train.iteration: unknown setting 'iteration'; did you mean"),
        ("iterations", "--set iterations: expected KEY=VALUE"),
        ("model.name=3", "--set model.name=3: 'model' is 'pocket' and has no keys"),
        ("rule.lr.x=3", "--set rule.lr.x=3: 'rule.lr' is 0.0001 and has no keys"),
        ("rule=[1", "--set rule=[1: '[1' can't be read as YAML"),
    ],
)
def test_a_bad_set_names_itself(load: Any, option: str, message: str) -> None:
    assert message in said(load, GOOD, option)


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


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("tasks", "{kind: synthetic, kind_of: style}", "variant"),
        ("tasks", "{kind: at_hand, files: a.jsonl}", "mixed"),
        ("readout", "{kind: ridge, primed: 3}", "metric_episodes"),
        ("initializer", "prototype", "proto_head"),
    ],
)
def test_a_name_of_version_0_1_is_one_fault_that_says_the_new_one(key: str, old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    parts = {"tasks": "synthetic", key: old}
    lines = "".join(f"{part}: {value}\n" for part, value in parts.items())
    path.write_text(f"model: pocket\nadapter: lora\nlearner: fomaml\n{lines}")
    with pytest.raises(RecipeError, match=rf"(?s)one fault in recipe .*{new}' since version 0\.2"):
        load_recipe(path)
    (tmp_path / "run.json").write_text('{"melpa": "0.1.3"}')
    assert new in {*load_recipe(path).resolved[key], load_recipe(path).kind(key)}
