"""`melpa generate`, `melpa chat` and `melpa score` for one who writes."""

import json
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

invoke = CliRunner().invoke


@pytest.fixture
def writer(home: Path, lines: Path) -> Path:
    """Lines that 'me' is adapted to."""
    assert invoke(app, ["adapt", "--user", "me", str(lines), "--steps", "8"]).exit_code == 0
    return lines


def said(*words: str) -> dict[str, str]:
    order = ["generate", "--user", "me", "The cat", "--max-tokens", "12", "--temp", "0", "--json", *words]
    return json.loads(invoke(app, order).stdout)


def test_strength_leads_from_the_base_to_the_adapter(writer: Path) -> None:
    whole = said("--compare")
    assert whole["text"] != whole["base"] and said("--strength", "0")["text"] == whole["base"]
    shown = invoke(
        app, ["generate", "--user", "me", "The cat", "--max-tokens", "12", "--temp", "0", "--compare"]
    ).stdout
    assert shown.startswith("base:\n") and whole["base"] in shown and whole["text"] in shown


def test_a_seed_makes_chance_repeat(writer: Path) -> None:
    order = ["generate", "--user", "me", "The cat", "--max-tokens", "12", "--temp", "1", "--seed"]
    texts = [invoke(app, [*order, seed]).stdout for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]


def test_chat_from_a_pipe(writer: Path) -> None:
    typed = "The cat\n/base\nThe cat\n/strength 0\nThe cat\n/strength 2\n/what\n/quit\nThe cat\n"
    done = invoke(app, ["chat", "--user", "me", "--max-tokens", "12", "--temp", "0"], input=typed)
    assert done.exit_code == 0
    adapted, base = said()["text"], said("--strength", "0")["text"]
    assert done.stdout == f"{adapted}\nbase:\n{base}\nme:\n{adapted}\nbase:\n{base}\nme:\n{base}\n"
    assert "/strength 2: unknown" in done.stderr and "/what: unknown" in done.stderr
    assert invoke(app, ["chat", "--user", "me"], input="").exit_code == 0


def test_score_of_text(writer: Path) -> None:
    found = json.loads(invoke(app, ["score", "--user", "me", str(writer), "--json"]).stdout)
    assert found["adapted"]["bits_per_byte"] < found["base"]["bits_per_byte"] and found["examples"] == 9


def test_nobody(home: Path) -> None:
    for order in (["generate", "--user", "nobody", "x"], ["chat", "--user", "nobody"]):
        done = invoke(app, order)
        assert done.exit_code == 1 and "no adapter for user 'nobody'" in done.stderr
