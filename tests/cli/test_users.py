"""`melpa users`: what it prints, asks and deletes."""

import json
from pathlib import Path

import numpy as np
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.types import Example
from mlx_melpa.store import Reservoir, Store, UserState, Version

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def filled(home: Path) -> None:
    metrics = {"steps": 5, "loss_before": 2.5, "loss_after": 1.25}
    with Store() as store:
        for user in ("[red]me[/red]", "Ольга"):
            for value in (1.0, 2.0):
                rows = np.full((1, 600), value, np.float32)
                layout = Layout([Segment("w", (600,))])
                store.put(
                    user, Version(UserState(rows), layout, "llama", "pocket", "w0", "f0", "adapt", 9, ("a",), metrics)
                )


def test_an_empty_store_says_what_to_do() -> None:
    assert run(app, ["users", "list"]).stdout == "No users yet; run: melpa adapt --user me DATA\n"
    assert json.loads(run(app, ["users", "list", "--json"]).stdout) == []


@pytest.mark.usefixtures("filled")
def test_list() -> None:
    shown = run(app, ["users", "list"])
    assert shown.exit_code == 0 and "[red]me[/red]" in shown.stdout and "2.5 kB" in shown.stdout
    people = json.loads(run(app, ["users", "list", "--json"]).stdout)
    assert [(p["user"], p["versions"], p["active"], p["base_name"]) for p in people] == [
        ("[red]me[/red]", 2, 2, "pocket"),
        ("Ольга", 2, 2, "pocket"),
    ]
    assert people[0]["nbytes"] == 2 * (1200 + 72) and people[0]["created"].endswith("+00:00")


@pytest.mark.usefixtures("filled")
def test_show() -> None:
    active = json.loads(run(app, ["users", "show", "Ольга", "--json"]).stdout)
    assert (active["number"], active["parameters"], active["labels"]) == (2, 600, ["a"])
    assert active["arrays"] == {"rows": "float32 [1, 600]"} and active["metrics"]["loss_after"] == 1.25
    shown = run(app, ["users", "show", "Ольга", "--version", "1"]).stdout
    assert "pocket (llama)" in shown and "adapt" in shown and "(active)" not in shown


def test_show_says_how_a_version_was_described() -> None:
    rows, layout = np.zeros((1, 3), np.float32), Layout([Segment("w", (3,))])
    with Store() as store:
        for about in ("a nurse", "a cook"):
            store.put("Ann", Version(UserState(rows), layout, "llama", "pocket", "w0", description=about))
        store.rollback("Ann", 1)
        assert [version.description for version in store.history("Ann")] == ["a nurse", "a cook", "a nurse"]
    assert json.loads(run(app, ["users", "show", "Ann", "--version", "2", "--json"]).stdout)["description"] == "a cook"
    assert "a nurse" in run(app, ["users", "show", "Ann"]).stdout


def test_show_of_a_person_for_whom_nothing_answers() -> None:
    rows = np.zeros((1, 3), np.float32)
    with Store() as store:
        store.put(
            "Ann B", Version(UserState(rows), Layout([Segment("w", (3,))]), "llama", "pocket", "w0"), activate=False
        )
    failed = run(app, ["users", "show", "Ann B", "--json"])
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr == "error: 'Ann B' has no active version; run: melpa users history 'Ann B'\n"
    assert run(app, ["users", "show", "Ann B", "--version", "1"]).exit_code == 0


@pytest.mark.usefixtures("filled")
def test_rollback_and_history() -> None:
    assert "is active again, as version 3" in run(app, ["users", "rollback", "Ольга", "1"]).stdout
    versions = json.loads(run(app, ["users", "history", "Ольга", "--json"]).stdout)
    assert [(v["number"], v["kind"], v["active"]) for v in versions] == [
        (1, "adapt", False),
        (2, "adapt", False),
        (3, "rollback", True),
    ]
    shown = run(app, ["users", "history", "Ольга"]).stdout
    assert "2.5 to 1.25" in shown and "rollback" in shown and shown.splitlines()[-1].startswith("3 * ")


@pytest.mark.usefixtures("filled")
def test_prune() -> None:
    assert json.loads(run(app, ["users", "prune", "Ольга", "--keep", "1", "--json"]).stdout)["deleted"] == [1]
    assert "Deleted 0 of" in run(app, ["users", "prune", "Ольга"]).stdout


@pytest.mark.usefixtures("filled")
def test_remove_asks_unless_told() -> None:
    kept = run(app, ["users", "remove", "Ольга"], input="n\n")
    assert kept.exit_code == 1 and "Delete 'Ольга' and 2 versions for good?" in kept.stderr
    silent = run(app, ["users", "remove", "Ольга"], input="")
    assert silent.exit_code == 1 and "--yes skips the question" in silent.stderr and "Aborted" not in silent.stderr
    assert json.loads(run(app, ["users", "remove", "Ольга", "--yes", "--json"]).stdout) == {
        "user": "Ольга",
        "deleted": 2,
    }
    assert run(app, ["users", "remove", "[red]me[/red]"], input="y\n").exit_code == 0
    assert json.loads(run(app, ["users", "list", "--json"]).stdout) == []


@pytest.mark.usefixtures("filled")
def test_kept_examples_are_listed_and_erased(home: Path) -> None:
    none = run(app, ["users", "examples", "Ольга"])
    assert none.stdout == "None are stored; to store up to 50: melpa adapt --user 'Ольга' DATA --store-examples 50\n"
    forms = [Example("[b]note[/b]", label="a"), Example("a prompt", target="its answer"), Example("", target="third")]
    with Store() as store:
        rows, layout = np.zeros((1, 600), np.float32), Layout([Segment("w", (600,))])
        store.put("Ольга", Version(UserState(rows), layout, "llama", "pocket", "w0"), keep=Reservoir(3, forms))
    listed = json.loads(run(app, ["users", "examples", "Ольга", "--json"]).stdout)
    assert listed == [
        {"text": "[b]note[/b]", "label": "a"},
        {"text": "a prompt", "target": "its answer"},
        {"target": "third"},
    ]
    shown = run(app, ["users", "examples", "Ольга"]).stdout
    assert "3 of at most 3, out of 3" in shown and "[b]note[/b]" in shown and "a prompt / its answer" in shown
    assert "3 of at most 3" in run(app, ["users", "show", "Ольга"]).stdout
    assert json.loads(run(app, ["users", "show", "Ольга", "--json"]).stdout)["examples_kept"] == 3
    assert [p["kept"] for p in json.loads(run(app, ["users", "list", "--json"]).stdout)] == [0, 3]

    asked = run(app, ["users", "forget-examples", "Ольга"], input="n\n")
    assert asked.exit_code == 1 and "Delete the 3 stored examples of 'Ольга' for good?" in asked.stderr
    done = run(app, ["users", "forget-examples", "Ольга", "--yes", "--json"])
    assert json.loads(done.stdout) == {"user": "Ольга", "deleted": 3}
    assert not any(b"its answer" in file.read_bytes() for file in home.iterdir())
    with Store() as store:
        assert len(store.history("Ольга")) == 3


@pytest.mark.parametrize("name", ["show", "history", "prune", "remove", "examples", "forget-examples"])
def test_an_unknown_user_is_one_line_on_stderr(name: str) -> None:
    failed = run(app, ["users", name, "me"])
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr == "error: no adapter for user 'me'; run: melpa adapt --user me DATA\n"
