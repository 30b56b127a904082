"""`melpa adapt-all FILE`: everyone once, as each would be adapted alone, and again from where it stopped."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.data.readers import read_examples
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.many_users import adapt_all, by_user
from mlx_melpa.store import Store
from mlx_melpa.store.run import load_run

invoke = CliRunner().invoke
WORDS = ["gas bill", "plumber", "curtains", "report", "slides", "contract", "room", "supplier"]


def rows_of(user: str, count: int, labels: tuple[str, ...]) -> list[dict[str, str]]:
    return [
        {"user": user, "text": f"{user}: the {WORDS[i]} for {user}", "label": labels[i % len(labels)]}
        for i in range(count)
    ]


@pytest.fixture
def crowd(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of people who sort notes: some into two folders, some into three."""

    def write(count: int = 5) -> Path:
        path = tmp_path / "people.jsonl"
        told = [
            row
            for i in range(count)
            for row in rows_of(f"u{i}", 4 + 2 * (i % 2), ("home", "work", "club")[: 2 + i % 2])
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in told))
        return path

    return write


def ordered(*words: object) -> dict[str, Any]:
    done = invoke(app, ["adapt-all", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.usefixtures("home")
def test_everyone_is_adapted_as_they_would_be_alone(crowd: Callable[..., Path], trained: Path) -> None:
    said = ordered(crowd(), "--run", "sorting")
    assert (said["people"], said["adapted"], said["before"], said["left_out"]) == (5, 5, 0, {})
    run = load_run(trained / "sorting")
    with Store() as store:
        for user, (own, _) in by_user(run, read_examples(crowd())).items():
            stored, alone = store.latest(user), adapt_user(run, own, steps=run.steps).version
            assert stored is not None and (stored.labels, stored.examples) == (alone.labels, len(own))
            assert np.abs(stored.state.rows - alone.state.rows).max() <= 2e-3
            means, wanted = (v.state.means.astype(np.float64) for v in (stored, alone))
            assert np.abs(means - wanted).max() <= 3e-3 * np.abs(wanted).max()  # rounded to fp16 twice
            assert stored.state.counts.tolist() == alone.state.counts.tolist()
            assert stored.state.learned.tolist() == alone.state.learned.tolist()
            assert abs(stored.metrics["loss_after"] - alone.metrics["loss_after"]) < 1e-3
    assert invoke(app, ["label", "--user", "u3", "the gas bill", "--json"]).exit_code == 0


@pytest.mark.usefixtures("home")
def test_a_stopped_order_goes_on_and_reaches_everyone_once(crowd: Callable[..., Path], trained: Path) -> None:
    run = load_run(trained / "sorting")
    people = by_user(run, read_examples(crowd(7)))
    with Store() as store:
        first = list(islice(adapt_all(run, people, store, "once", users_per_pass=2), 3))
        rest = list(adapt_all(run, people, store, "once", users_per_pass=2))
        assert len(first) == 3 and len(rest) == 4
        assert {t.user for t in first} | {t.user for t in rest} == set(people)
        assert list(adapt_all(run, people, store, "once")) == []
        assert all(len(store.history(user)) == 1 for user in people)


def test_who_has_a_version_goes_on_from_it_and_who_cannot_be_adapted_is_told(
    home: Path, crowd: Callable[..., Path]
) -> None:
    path = crowd(2)
    assert ordered(path, "--run", "sorting")["adapted"] == 2
    more = [*rows_of("u0", 6, ("home", "club")), *rows_of("lone", 3, ("only",)), *rows_of("new", 4, ("a", "b"))]
    path.write_text("".join(json.dumps(row) + "\n" for row in more))
    said = ordered(path, "--run", "sorting")
    assert (said["people"], said["adapted"]) == (3, 2)
    assert list(said["left_out"]) == ["lone"] and "have the label 'only'" in said["left_out"]["lone"]
    with Store() as store:
        assert [v.parent for v in store.history("u0")] == [None, 1]
        assert store.history("u0")[1].labels == ("home", "work", "club")
    again = ordered(path, "--run", "sorting")
    assert (again["adapted"], again["before"]) == (0, 2)


@pytest.mark.usefixtures("home")
def test_a_row_without_a_user_is_refused(tmp_path: Path) -> None:
    nameless = tmp_path / "nameless.jsonl"
    nameless.write_text('{"text": "a", "label": "b"}\n')
    refused = invoke(app, ["adapt-all", str(nameless)])
    assert refused.exit_code == 1 and "nameless.jsonl:1: names nobody; give each row a field 'user'" in refused.stderr
