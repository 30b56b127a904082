"""A run that sorts nouns by their subjects, and one that fits curves."""

from pathlib import Path

import pytest
from toys.runs import HEAD, SINUSOID, labelled, made

from mlx_melpa.store.run import Run


@pytest.fixture(scope="module")
def intents(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("intents")
    data = labelled(folder / "train.jsonl", ["pets", "food"])
    tasks = (
        f"{{kind: jsonl, train: {data}, group: domain, ways: 3, shots: 1, queries: 1, hold_out: [], validation: []}}"
    )
    head = HEAD.format(model=shared / "models" / "stories260k")
    return made(folder, f"{head}tasks: {tasks}\nreadout: prototypes\n")


@pytest.fixture(scope="module")
def curves_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("sinusoid"), SINUSOID)
