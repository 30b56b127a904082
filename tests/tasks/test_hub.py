"""Data sets of the `datasets` library, from a local folder or by name."""

from pathlib import Path

import datasets
import numpy as np
import pytest

from mlx_melpa.config.schema import build
from mlx_melpa.core.types import Splits
from mlx_melpa.errors import DataError
from mlx_melpa.tasks import KINDS


def hub(**settings: object) -> Splits:
    """As a recipe's settings build it."""
    splits: Splits = build(KINDS["hub"], (), settings)
    return splits


@pytest.fixture
def folder(tmp_path: Path) -> str:
    names = [f"intent {k}" for k in range(8)]
    features = datasets.Features(
        {
            "sentence": datasets.Value("string"),
            "intent": datasets.ClassLabel(names=names),
            "text": datasets.Value("int8"),
        }
    )
    rows = {"sentence": [f"s{i}" for i in range(48)], "intent": [i % 8 for i in range(48)], "text": [0] * 48}
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": data, "half": data.select(range(24))}).save_to_disk(str(tmp_path / "set"))
    data.save_to_disk(str(tmp_path / "plain"))
    return str(tmp_path / "set")


COLUMNS = {"text": "sentence", "label": "intent"}


def test_a_local_folder_gives_tasks_with_class_names(folder: str) -> None:
    splits = hub(name=folder, columns=COLUMNS, ways=2, shots=2, queries=2)
    keys = [set(tasks.keys) for tasks in (splits.train, splits.validation, splits.test)]
    assert set().union(*keys) == {f"intent {k}" for k in range(8)}
    assert [len(k) for k in keys] == [4, 2, 2]
    for example in splits.test.episode(np.random.default_rng(0)).support:
        number = int(example.text[1:])
        assert example.label == f"intent {number % 8}"
        assert example.source == f"{folder}[train]:{number}"
    plain = hub(name=folder.replace("set", "plain"), columns=COLUMNS, ways=2, shots=2, queries=2)
    assert plain.training_hashes == splits.training_hashes


def test_what_cannot_be_had_is_said(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"has no split 'dev'; use one of train, half"):
        hub(name=folder, split="dev")
    with pytest.raises(DataError, match=r"has no column 'words' for 'text'; there are: sentence, intent, text"):
        hub(name=folder, columns={"text": "words"})
    with pytest.raises(DataError, match=r"\[train\]:0: field 'text' is a number; give it as text"):
        hub(name=folder)
    (tmp_path / "other").mkdir()
    with pytest.raises(
        DataError, match=r"other' can't be had .*: offline, or a wrong name or split; give a local folder"
    ):
        hub(name=str(tmp_path / "other"))

    empty = datasets.Dataset.from_dict({"text": []})
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: empty)
    with pytest.raises(DataError, match=r"someone/set\[dev\]: holds no rows; choose another split"):
        hub(name="someone/set", split="dev")

    def offline(name: str, split: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=r"data set 'someone/set' can't be had \(ConnectionError: no route\)"):
        hub(name="someone/set")


def test_subsets_become_groups_and_columns_join(tmp_path: Path) -> None:
    for name, columns in {"pairs": ["one", "two"], "single": ["two"]}.items():
        rows = {c: [f"{c}{i}" for i in range(12)] for c in columns} | {"label": [i % 2 for i in range(12)]}
        datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}).save_to_disk(str(tmp_path / name))
    columns: dict[str, str | list[str]] = {"text": ["one", "two"]}
    splits = hub(
        name=str(tmp_path),
        subsets=["pairs", "single"],
        columns=columns,
        ways=2,
        shots=2,
        queries=2,
        hold_out=["single"],
    )
    train, test = (tasks.episode(np.random.default_rng(0)).support[0].text for tasks in (splits.train, splits.test))
    assert train.split("\n")[0].startswith("one") and train.split("\n")[1] == train.split("\n")[0].replace("one", "two")
    assert test.startswith("two") and "\n" not in test
    with pytest.raises(DataError, match="has no column 'three or four' for 'text'"):
        hub(name=str(tmp_path), subsets=["pairs"], columns={"text": ["three", "four"]})
