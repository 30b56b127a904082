"""`melpa validate` and `melpa recipes`: what they print, and their exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from melpa_cli.main import app
from typer.testing import CliRunner

BAD = "model: pocket\nadapter: {kind: lora, rank: 0}\ntasks: sinusoid\nlearner: {kind: mamml}\n"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_validate_prints_the_resolved_recipe() -> None:
    result = run("validate", "sinusoid-maml", "--set", "train.iterations=7", "--set", "rule=lslr")
    assert result.exit_code == 0, result.output
    resolved = yaml.safe_load(result.stdout)
    assert resolved["train"]["iterations"] == 7
    assert resolved["rule"] == {"kind": "lslr", "lr": 0.1, "steps": 5}
    assert json.loads(run("validate", "sinusoid-maml", "--json").stdout)["recipe"]["train"]["iterations"] == 60000


def test_validate_prints_every_fault_and_ends_with_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    result = run("validate", str(path))
    assert result.exit_code == 1
    assert f"{path}:2: adapter.rank: expected a whole number at least 1 and at most 256, found 0" in result.stderr
    assert f"{path}:4: learner.kind: unknown kind 'mamml'; did you mean 'maml'?" in result.stderr
    assert "Traceback" not in result.output
    result = run("validate", str(path), "--json")
    assert result.exit_code == 1
    errors = json.loads(result.stdout)["errors"]
    assert [(e["file"], e["line"], e["key"]) for e in errors] == [
        (str(path), 2, "adapter.rank"),
        (str(path), 4, "learner.kind"),
    ]


def test_validate_of_what_is_not_there() -> None:
    assert run("validate", "gone.yaml").exit_code == 1
    assert json.loads(run("validate", "gone.yaml", "--json").stdout)["valid"] is False


def test_a_learner_that_cannot_train_the_rule_is_refused() -> None:
    result = run("validate", "sinusoid-meta-sgd", "--set", "learner=reptile")
    assert result.exit_code == 1
    assert "learner 'reptile' trains the initializer only, so what rule 'meta_sgd' has to learn" in result.stderr


def test_recipes_are_listed_shown_and_copied(tmp_path: Path) -> None:
    listed = {item["name"]: item["about"] for item in json.loads(run("recipes", "--json").stdout)}
    assert {"quickstart", "clinc150", "shakespeare", "sinusoid-maml", "sinusoid-meta-sgd"} <= set(listed)
    assert listed["sinusoid-maml"].startswith("MAML on the sinusoid")
    assert "quickstart" in run("recipes").stdout
    text = run("recipes", "quickstart").stdout
    assert text.startswith("# The quickstart")
    assert run("recipes", "quickstart", "--copy", str(tmp_path)).exit_code == 0
    assert (tmp_path / "quickstart.yaml").read_text() == text
    again = run("recipes", "quickstart", "--copy", str(tmp_path))
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipes", "quikstart"], "no recipe 'quikstart'; did you mean 'quickstart'?"),
        (["recipes", "--copy", "x.yaml"], "--copy needs the name of a recipe"),
        (["recipes", "quickstart", "--copy", "no/such/folder/x.yaml"], "can't write"),
    ],
)
def test_recipes_says_what_is_wrong(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_validate_refuses_imaml_where_nothing_pulls_rows_to_their_start() -> None:
    for regularizer in ("none", "{kind: ewc, prior: 0}"):
        result = run("validate", "sinusoid-imaml", "--set", f"regularizer={regularizer}")
        assert result.exit_code == 1
        assert "regularizer: learner 'imaml' needs what pulls rows to their start; set regularizer" in result.stderr
    for regularizer in ("l2", "{kind: ewc, prior: 1}"):
        assert run("validate", "sinusoid-imaml", "--set", f"regularizer={regularizer}").exit_code == 0
