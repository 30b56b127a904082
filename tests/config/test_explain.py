"""Explanations of keys, kinds and settings: none is without its text, and every name is found."""

import json

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.config.explain import Entry, entries, explain, reference
from mlx_melpa.config.kinds import FOLDERS, kinds
from mlx_melpa.errors import RecipeError

ALL = [entry for key in entries() for entry in key.walk()]
SETTINGS = [entry for entry in ALL if entry.allowed]
KINDS = [entry for entry in ALL if not entry.allowed and "." in entry.name]


def names(name: str) -> list[str]:
    return [entry.name for entry in explain(name)]


def test_every_kind_of_every_table_is_there() -> None:
    tables = {f"{part}.{builder.__name__}" for part in FOLDERS for builder in kinds(part).values()}
    assert tables <= {entry.name for entry in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda entry: entry.name)
def test_a_kind_says_what_it_is_and_when_to_use_it(kind: Entry) -> None:
    assert kind.does and kind.use.startswith("Use it when") and kind.avoid.startswith("Not when")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda entry: entry.name)
def test_a_setting_has_its_text(setting: Entry) -> None:
    assert setting.does, f"write '{setting.last}: ...' into the docstring of {setting.name.rpartition('.')[0]}"


def test_names_are_found_alone_and_dotted() -> None:
    assert names("learner") == ["learner"]
    assert names("maml") == names("learner.maml") == ["learner.maml"]
    assert names("sgd") == ["rule.sgd", "train.optimizer.sgd"]
    assert names("ridge.strength") == names("readout.ridge.strength") == ["readout.ridge.strength"]
    assert set(names("learner.steps")) == {f"learner.{kind}.steps" for kind in kinds("learner")}
    with pytest.raises(RecipeError, match="did you mean 'ridge'"):
        explain("rigde")


def test_a_setting_of_another_kind_lends_its_words() -> None:
    (own,), (lent,) = explain("prototypes.temperature"), explain("ridge.temperature")
    assert own.does == lent.does and explain("ridge")[0].below[0].default == "0.3"


def test_the_reference_has_every_kind_and_setting() -> None:
    text = reference()
    assert all(f"`{entry.name.rpartition('.')[0]}: {entry.last}`" in text for entry in KINDS)
    assert all(f"| `{entry.last}` |" in text for entry in SETTINGS if "." in entry.name)


def test_the_command_shows_text_and_json() -> None:
    run = CliRunner().invoke
    for words in ([], ["ridge"], ["train.optimizer"]):
        assert run(app, ["explain", *words]).exit_code == 0
    found = json.loads(run(app, ["explain", "readout.ridge", "--json"]).stdout)[0]
    assert found["name"] == "readout.ridge" and found["below"][0]["name"] == "readout.ridge.strength"
    assert run(app, ["explain", "rigde"]).exit_code == 1
