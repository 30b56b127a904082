"""`melpa label` and `melpa score`: a person's own labels with probabilities, and how well they fit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

invoke = CliRunner().invoke


@pytest.fixture
def sorted_notes(home: Path, notes: Callable[..., Path]) -> Path:
    """Notes that 'me' is adapted to."""
    data = notes()
    done = invoke(app, ["adapt", "--user", "me", str(data), "--steps", "0", "--json"])
    number = str(json.loads(done.stdout)["version"])
    assert invoke(app, ["users", "rollback", "me", number]).exit_code == 0
    return data


def test_a_text_gets_probabilities(sorted_notes: Path) -> None:
    (said,) = json.loads(invoke(app, ["label", "--user", "me", "water the plants", "--json"]).stdout)
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert said["label"] == max(said["probabilities"], key=said["probabilities"].get)
    shown = invoke(app, ["label", "--user", "me", "water the plants"]).stdout.splitlines()
    assert len(shown) == 2 and shown[0].endswith(said["label"]) and "%" in shown[0]


def test_a_file_gets_a_label_for_each_line_in_its_order(sorted_notes: Path, tmp_path: Path) -> None:
    said = json.loads(invoke(app, ["label", "--user", "me", str(sorted_notes), "--json"]).stdout)
    texts = [json.loads(line)["text"] for line in sorted_notes.read_text().splitlines()]
    assert [item["text"] for item in said] == texts
    alone = json.loads(invoke(app, ["label", "--user", "me", texts[3], "--json"]).stdout)
    assert said[3]["probabilities"] == pytest.approx(alone[0]["probabilities"], abs=1e-4)
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(texts))
    again = json.loads(invoke(app, ["label", "--user", "me", str(plain), "--json"]).stdout)
    assert [a["label"] for a in again] == [a["label"] for a in said]


def test_score_of_labels_is_what_label_says(sorted_notes: Path) -> None:
    found = json.loads(invoke(app, ["score", "--user", "me", str(sorted_notes), "--json"]).stdout)
    said = json.loads(invoke(app, ["label", "--user", "me", str(sorted_notes), "--json"]).stdout)
    truth = [json.loads(line)["label"] for line in sorted_notes.read_text().splitlines()]
    right = sum(item["label"] == label for item, label in zip(said, truth, strict=True))
    assert found["adapted"]["accuracy"] == pytest.approx(right / 10) and found["base"]["accuracy"] == 0.5
    assert "chance, 2 labels" in invoke(app, ["score", "--user", "me", str(sorted_notes)]).stdout


def test_refusals(home: Path, lines: Path) -> None:
    gone = invoke(app, ["label", "--user", "nobody", "gone.txt"])
    assert gone.exit_code == 1 and "error: gone.txt: no such file; check the path" in gone.stderr
    nobody = invoke(app, ["label", "--user", "nobody", "x"])
    assert nobody.exit_code == 1 and "no adapter for user 'nobody'; run: melpa adapt --user nobody" in nobody.stderr
    invoke(app, ["adapt", "--user", "me", str(lines), "--steps", "3"])
    wrong = invoke(app, ["label", "--user", "me", "x"])
    assert wrong.exit_code == 1 and "has no labels; use melpa generate" in wrong.stderr


def test_a_text_as_long_as_a_note_or_with_a_tilde_is_no_path(sorted_notes: Path) -> None:
    for text in ("water the plants and " * 20, "~20 people are coming"):
        said = json.loads(invoke(app, ["label", "--user", "me", text, "--json"]).stdout)
        assert [item["text"] for item in said] == [text]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "water", "completion": "the plants"}, "a prompt with its completion"),
        ({"messages": [{"role": "user", "content": "water"}, {"role": "assistant", "content": "yes"}]}, "messages"),
    ],
)
def test_a_row_of_more_than_a_text_gets_no_label(
    sorted_notes: Path, tmp_path: Path, row: dict[str, object], told: str
) -> None:
    data = tmp_path / "more.jsonl"
    data.write_text(json.dumps(row))
    done = invoke(app, ["label", "--user", "me", str(data)])
    assert done.exit_code == 1 and f"more.jsonl:1: this row holds {told}" in done.stderr
