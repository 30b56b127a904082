"""`melpa bench daily`: what a person's days are made of, and two of them."""

import json
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.benchmarks.continual.daily import ends, simulate_history
from mlx_melpa.benchmarks.continual.tasks import Stream, reserved_for_tuning
from mlx_melpa.core.types import Example
from mlx_melpa.errors import DataError

TOPICS = {"a": ("cats", "dogs", "birds"), "b": ("red", "blue", "green")}


def groups(count: int, **more: tuple[str, ...]) -> dict[str, dict[str, tuple[Example, ...]]]:
    return {
        topic: {word: tuple(Example(f"{word} {i}", label=word) for i in range(count)) for word in words}
        for topic, words in {**TOPICS, **more}.items()
    }


def test_days_go_through_the_tasks_and_never_show_what_is_asked() -> None:
    held = groups(20)
    history = simulate_history(Stream(held, 2, 2), 6, labels=2, shots=3, seed=0)
    assert len(history.days) == 6 and all(len(notes) == 6 for notes in history.days)
    topics = ["a" if notes[0].label in TOPICS["a"] else "b" for notes in history.days]
    assert topics == ["a"] * 3 + ["b"] * 3
    shown = {e for notes in history.days for e in notes}
    assert not shown & set(history.held_out)
    assert {e.label for e in history.held_out} == {e.label for e in history.days[0]}
    assert len(history.held_out) == 2 * reserved_for_tuning(20)
    counts = {word: [e for notes in history.days for e in notes if e.label == word] for word in TOPICS["a"]}
    for word, examples in counts.items():  # in turn, each once
        assert examples == list(held["a"][word][reserved_for_tuning(20) :])[: len(examples)]
    with pytest.raises(DataError, match="finds no new example in task 'a'; lower --days, --labels or --shots"):
        simulate_history(Stream(held, 2, 2), 60, labels=3, shots=5, seed=0)
    assert history != simulate_history(Stream(held, 2, 2), 6, labels=2, shots=3, seed=1)


def test_ends_are_medians_of_tenths() -> None:
    assert ends([float(i) for i in range(40)]) == {"first": 1.5, "last": 37.5}
    assert ends([3.0, 5.0]) == {"first": 3.0, "last": 5.0}


@pytest.fixture
def run(shared: Path, tmp_path: Path) -> Path:
    rows = [
        {"text": e.text, "label": e.label, "topic": topic}
        for topic, words in groups(10, seen=("up", "down")).items()
        for examples in words.values()
        for e in examples
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "small.yaml"
    path.write_text(
        f"model: {shared / 'models/stories260k'}\nadapter: {{kind: lora, rank: 2, layers: 1}}\n"
        "tasks: {kind: jsonl, train: rows.jsonl, group: topic, ways: 2, shots: 2, queries: 2, hold_out: [a, b], "
        "validation: 0}\nreadout: {kind: prototypes, metric: plain}\nlearner: {kind: fomaml, steps: 1}\n"
        "train: {iterations: 1, tasks_per_step: 1, validate_every: 1, validation_episodes: 2}\n"
    )
    done = CliRunner().invoke(app, ["meta-train", str(path), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    return tmp_path / "run"


@pytest.mark.usefixtures("in_process")
def test_two_days_are_lived_and_told(run: Path, tmp_path: Path) -> None:
    order = ["bench", "daily", str(run), "--days", "2", "--labels", "2", "--shots", "2", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*order, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["days"] == 2 and found["notes_a_day"] == 4 and len(found["seconds"]["each"]) == 2
    assert [(p["day"], p["labels"]) for p in found["day_one"]] == [(1, 2), (2, 4)] and found["at_once"]["labels"] == 4
    assert all(0 <= p["accuracy"] <= 1 for p in found["day_one"])
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"daily.json", "day_one.png", "seconds.png"}
