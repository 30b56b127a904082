"""Tasks that training has not seen: from a run's own data or a file, of the sizes asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from toys.runs import labelled

from mlx_melpa.errors import DataError
from mlx_melpa.evaluation.unseen_tasks import Sizes, TaskFiles, tasks_of
from mlx_melpa.store.run import Run


def test_sizes_given_change_the_episodes_and_those_that_tune(intents: Run, tmp_path: Path) -> None:
    data = labelled(tmp_path / "test.jsonl", ["play"])
    test, splits, notes = tasks_of(intents, TaskFiles(data), Sizes(ways=2, shots=2, queries=1))
    for one in (test.episode(np.random.default_rng(0)), splits.train.episode(np.random.default_rng(0))):
        assert (len(one.labels), len(one.support), len(one.query)) == (2, 4, 2)
    assert notes == ()


def test_files_that_nothing_groups_are_tasks_by_their_labels(intents: Run, tmp_path: Path) -> None:
    grouped = labelled(tmp_path / "test.jsonl", ["play"])
    rows = [
        {k: v for k, v in json.loads(line).items() if k in ("text", "label")}
        for line in grouped.read_text().splitlines()
    ]
    plain = tmp_path / "plain.jsonl"
    plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="has no field"):
        tasks_of(intents, TaskFiles(plain))
    tasks = tasks_of(intents, TaskFiles(plain, group=""), Sizes(ways=2))
    assert len(tasks.test.episode(np.random.default_rng(0)).labels) == 2
