"""Splits by group, user and label: disjoint, named or drawn, and hashed."""

import json
from pathlib import Path

import numpy as np
import pytest

from mlx_melpa.config.schema import build
from mlx_melpa.core.types import Splits
from mlx_melpa.data.readers import read_examples
from mlx_melpa.errors import DataError
from mlx_melpa.tasks import KINDS
from mlx_melpa.tasks.episodes import LabelledTasks, UserTasks
from mlx_melpa.tasks.splits import task_hash, unseen


def jsonl(**settings: object) -> Splits:
    """As a recipe's settings build it."""
    splits: Splits = build(KINDS["jsonl"], (), settings)
    return splits


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def intents(domains: str, labels: int = 3, each: int = 4) -> list[dict[str, str]]:
    """Rows of one domain a letter."""
    return [
        {"text": f"{d}{k}{i}", "label": f"{d}{k}", "domain": d}
        for d in domains
        for k in range(labels)
        for i in range(each)
    ]


def people(names: str, each: int = 4) -> list[dict[str, str]]:
    return [{"user": name, "text": f"line {i} of {name}"} for name in names for i in range(each)]


def test_groups_are_dealt_out_by_share_whatever_the_order(tmp_path: Path) -> None:
    rows = intents("abcdefghij")
    splits = jsonl(train=write(tmp_path / "a.jsonl", rows), group="domain", ways=2, shots=2, queries=1)
    parts = [tasks.names for tasks in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [7, 1, 2]
    assert sorted(sum(parts, ())) == list("abcdefghij")
    turned = jsonl(train=write(tmp_path / "b.jsonl", rows[::-1]), group="domain", ways=2, shots=2, queries=1)
    assert set(turned.test.names) == set(parts[2]) and set(turned.validation.names) == set(parts[1])
    assert splits.training_hashes == {
        mark
        for d in parts[0] + parts[1]
        for mark in [task_hash("group", d)]
        + [task_hash(kind, f"{name}{d}{k}") for k in range(3) for kind, name in (("label", f"{d}/"), ("name", ""))]
    }
    others = {jsonl(train=str(tmp_path / "a.jsonl"), group="domain", shots=2, seed=s).test.names for s in range(5)}
    assert len(others) > 2


def test_a_hash_is_what_it_says() -> None:
    assert task_hash("group", "travel") == "6339781524fb9099"


def test_hold_out_by_name_and_unknown_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", intents("abcd"))
    splits = jsonl(train=path, group="domain", shots=2, hold_out=["b"], validation=["c"])
    assert (splits.train.names, splits.validation.names, splits.test.names) == (("a", "d"), ("c",), ("b",))
    with pytest.raises(DataError, match=r"tasks.hold_out names 'travel', which no usable task has; there are: a, b"):
        jsonl(train=path, group="domain", shots=2, hold_out=["travel"])
    with pytest.raises(DataError, match=r"no task is left for training; hold out fewer"):
        jsonl(train=path, group="domain", shots=2, hold_out=["a", "b"], validation=["c", "d"])


def test_labels_are_the_key_where_no_group_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", intents("abcdefg"))
    splits = jsonl(train=path, ways=4, shots=2, queries=1)
    parts = [set(tasks.keys) for tasks in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [13, 4, 4] and len(set().union(*parts)) == 21
    assert splits.training_hashes == {task_hash("label", k) for k in parts[0] | parts[1]}
    assert set(splits.test.episode(np.random.default_rng(0)).labels) == parts[2]


def test_a_test_file_must_hold_new_tasks(tmp_path: Path) -> None:
    train, new = write(tmp_path / "a.jsonl", people("abc")), write(tmp_path / "b.jsonl", people("de") + people("f", 1))
    splits = jsonl(train=train, test=new, shots=2)
    assert splits.test.names == ("d", "e") and len(splits.train.names) == 2 and len(splits.validation.names) == 1
    assert splits.notes == ("test: left out 1 of 3 users with fewer than 3 examples (shots + 1): 'f'",)
    both = write(tmp_path / "c.jsonl", people("cd"))
    with pytest.raises(
        DataError, match=r"tasks.test holds 1 of the groups of tasks.train .'c'., but .* tasks.hold_out"
    ):
        jsonl(train=train, test=both, shots=2)
    with pytest.raises(DataError, match=r"tasks.hold_out and tasks.test both name the test tasks; remove one"):
        jsonl(train=train, test=new, shots=2, hold_out=["a"])


def test_a_file_that_is_not_there_names_its_setting(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", intents("ab"))
    with pytest.raises(DataError, match=r"gone.jsonl: no such file; name yours with: --set tasks.train=PATH"):
        jsonl(train=[train, str(tmp_path / "gone.jsonl")])
    with pytest.raises(DataError, match=r"gone.jsonl: no such file; name yours with: --set tasks.test=PATH"):
        jsonl(train=train, test="gone.jsonl")


def test_few_tasks_are_refused_or_stand_in_with_a_note(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", [{"prompt": f"p{i}", "completion": "c"} for i in range(9)])
    with pytest.raises(DataError, match=r"hold_out takes 1, training 1 or more, but the tasks number 1; name with"):
        jsonl(train=one)
    splits = jsonl(train=one, hold_out=0, validation=0)
    assert splits.test is splits.train
    assert splits.notes == (
        "no task is left for validation: the training tasks are used",
        "no task is held out for the test: the validation tasks are used",
    )


def test_a_groups_description_is_the_first_that_a_row_gives(tmp_path: Path) -> None:
    rows = intents("abc")
    rows[5] |= {"about": "news of a"}
    rows[7] |= {"about": "news of a"}
    rows[12] |= {"about": ""}
    path = write(tmp_path / "a.jsonl", rows)
    splits = jsonl(train=path, group="domain", shots=2, hold_out=["a"], validation=0)
    rng = np.random.default_rng(0)
    assert splits.test.episode(rng).description == "news of a"
    assert "news of a" not in repr(splits.test.episode(rng))  # results of tasks drawn before still count
    assert {splits.train.episode(rng).description for _ in range(9)} == {""}
    told = [{**row, "bio": f"{row['user']} the cook"} for row in people("abcd")]
    splits = jsonl(train=write(tmp_path / "b.jsonl", told), about="bio", shots=2, queries=1, validation=0)
    for episode in (splits.train.episode(rng) for _ in range(5)):
        assert episode.description == f"{episode.name} the cook"
    with pytest.raises(DataError, match=r"tasks.about: no row of .*b.jsonl has a field 'job'; name one that is there"):
        jsonl(train=str(tmp_path / "b.jsonl"), about="job")


def test_two_descriptions_of_one_group_are_none_or_are_refused_where_their_field_is_named(tmp_path: Path) -> None:
    rows = [{**row, "about": f"a {i // 2}" if row["user"] == "a" else "a cook"} for i, row in enumerate(people("abc"))]
    path = write(tmp_path / "a.jsonl", rows)
    assert {(r.group, r.description) for r in read_examples(path)} == {("a", ""), ("b", "a cook"), ("c", "a cook")}
    held = jsonl(train=path, shots=2, queries=1, hold_out=["a"], validation=0).test
    assert held.episode(np.random.default_rng(0)).description == ""
    with pytest.raises(DataError, match=r"a.jsonl:3: group 'a' is described as 'a 1', and before as 'a 0'; describe"):
        jsonl(train=path, about="about", shots=2)
    for row in rows:
        del row["user"]
    assert {r.description for r in read_examples(write(tmp_path / "a.jsonl", rows))} == {""}
    with pytest.raises(DataError, match=r"a.jsonl:3: all that has no group is described as"):
        jsonl(train=path, about="about", shots=2)


def test_unseen_leaves_out_what_training_saw(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", intents("abcd"))
    splits = jsonl(train=path, group="domain", shots=2, hold_out=["b"], validation=["c"])
    kept, notes = unseen(read_examples(path, group="domain"), splits.training_hashes)
    assert {r.group for r in kept} == {"b"}
    assert notes == ("left out 3 tasks (36 examples) that training saw: 'a', 'c', 'd'",)
    assert {r.example.label for r in unseen(read_examples(path), splits.training_hashes)[0]} == {"b0", "b1", "b2"}
    assert unseen(kept, splits.training_hashes) == (kept, ())
    by_label = jsonl(train=path, ways=2, shots=2)
    left = {r.example.label for r in unseen(read_examples(path, group="domain"), by_label.training_hashes)[0]}
    assert left == set(by_label.test.keys)


def test_clinc150_by_domain(shared: Path) -> None:
    path = str(shared / "data/classification/clinc150/train.jsonl.gz")
    splits = jsonl(train=path, group="domain", hold_out=["travel", "utility", "work"])
    assert isinstance(splits.train, LabelledTasks)
    assert (len(splits.train.names), len(splits.validation.names)) == (6, 1)
    assert set(splits.test.names) == {"travel", "utility", "work"}
    assert splits.notes == ("left out 1 of 11 groups with fewer than 2 labels left: 'oos'",)
    assert len(splits.training_hashes) == 7 * (1 + 15 + 15)
    episode = splits.test.episode(np.random.default_rng(0))
    assert (len(episode.labels), len(episode.support), len(episode.query)) == (5, 25, 25)


def test_banking77_by_label(shared: Path) -> None:
    splits = jsonl(train=str(shared / "data/classification/banking77/train.jsonl.gz"))
    parts = [set(tasks.keys) for tasks in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [56, 6, 15] and len(set().union(*parts)) == 77


def test_shakespeare_by_character(shared: Path) -> None:
    folder = shared / "data/users/shakespeare_characters"
    files = {part: str(folder / f"{part}.jsonl.gz") for part in ("train", "test")}
    splits = jsonl(train=files["train"], test=files["test"], shots=10, queries=None)
    assert isinstance(splits.train, UserTasks)
    assert [tasks.size for tasks in (splits.train, splits.validation, splits.test)] == [294, 33, 109]
    episode = splits.test.episode(np.random.default_rng(0))
    assert len(episode.support) == 10 and len(episode.query) >= 10
    assert len(splits.training_hashes) == 327 and all(e.text and e.target for e in episode.support)
