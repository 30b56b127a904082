"""Variants of recipes: NAME=RECIPE,KEY=VALUE,..."""

from pathlib import Path

import pytest

from mlx_melpa.benchmarks.few_shot.jobs import Jobs
from mlx_melpa.benchmarks.few_shot.settings import Settings
from mlx_melpa.benchmarks.few_shot.variants import load, split
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.errors import MelpaError, RecipeError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("gb-moa", ["gb-moa"]),
        ("gb-moa,sampler=uniform,learner.steps=1", ["gb-moa", "sampler=uniform", "learner.steps=1"]),
        ("a,rule={kind: sgd, lr: 0.01},b=1", ["a", "rule={kind: sgd, lr: 0.01}", "b=1"]),
        ("a,adapter.sites=[q, v],x={y: [1, {z: 2, w: 3}], v: 4},b=", ["a", "adapter.sites=[q, v]",
                                                                     "x={y: [1, {z: 2, w: 3}], v: 4}", "b="]),
        ("a,b='c, d',e=\"[f,\",g={h: ']'},i=1", ["a", "b='c, d'", 'e="[f,"', "g={h: ']'}", "i=1"]),
        ("a,group=Ann's,label='it''s, so'", ["a", "group=Ann's", "label='it''s, so'"]),
    ],
)  # fmt: skip
def test_commas_split_outside_of_brackets_and_quotes(text: str, wanted: list[str]) -> None:
    assert split(text) == wanted


def test_a_variant_is_the_recipe_with_its_keys_set() -> None:
    found = load("first-order=maml,learner.kind=fomaml,rule={kind: sgd, lr: 0.5}", ["learner.steps=7", "rule=adam"])
    sets = ["learner.steps=7", "rule=adam", "learner.kind=fomaml", "rule={kind: sgd, lr: 0.5}"]
    assert found.name == "first-order" and found.resolved == load_recipe("maml", sets).resolved
    assert found.resolved["rule"] == {"kind": "sgd", "lr": 0.5}, "its own keys come last"


def test_a_variant_may_be_longer_than_the_name_of_a_file() -> None:
    sets = [f"learner.steps={n}" for n in range(1, 40)]
    assert load(f"long=maml,{','.join(sets)}").resolved["learner"]["steps"] == 39


def test_what_is_no_variant_is_a_recipe(tmp_path: Path) -> None:
    assert load("maml") == load_recipe("maml")
    path = tmp_path / "lr=0.1,b.yaml"
    path.write_text(load_recipe("maml").dump())
    assert load(str(path)).name == "lr=0.1,b"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("short=gb-mao,sampler=uniform", "variant short: no recipe 'gb-mao'; did you mean 'gb-moa'?"),
        ("short=gb-moa,sampler.kid=uniform", "variant short: .*--set sampler.kid=uniform: sampler.kid: unknown"),
        ("short=gb-moa,uniform", "variant short: --set uniform: expected KEY=VALUE"),
        ("short=gb-moa,rule={kind: sgd", "variant short: --set rule={kind: sgd: .* can't be read as YAML"),
        ("a b=gb-moa", "a variant is NAME=RECIPE,KEY=VALUE; its name has letters, digits, - and _ only"),
        ("a/b=gb-moa", "'a/b=gb-moa': a variant is NAME"),
        ("=gb-moa", "a variant is NAME"),
        ("short=", "a variant is NAME"),
    ],
)
def test_errors_name_the_variant(text: str, told: str) -> None:
    with pytest.raises(RecipeError, match=f"(?s){told}"):
        load(text)


def test_baselines_that_need_labels_are_refused_where_there_are_none() -> None:
    asked = Settings((load("shakespeare"),), methods=("prototypes", "logistic_regression"))
    with pytest.raises(
        MelpaError, match="--methods: prototypes, logistic_regression need labels, and the tasks have none; name"
    ):
        Jobs(asked)
