"""Tiny runs and people's files for the tests of the commands."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.benchmarks.processes import Commands
from mlx_melpa.evaluation import costs, methods, perplexity
from mlx_melpa.evaluation.baselines.successive_halving import Schedule

TEXTS = {
    "home": ["pay the gas bill", "call the plumber", "buy curtains", "water the plants", "clean the kitchen"],
    "work": ["send the report", "prepare slides", "review the contract", "book a room", "answer the supplier"],
}
LINES = [f"{word} is my name, says the {word} every single day." for word in (*"abcdefgh", "the cat")]


@pytest.fixture(scope="session")
def small(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a recipe on a tiny base that trains two iterations."""

    def write(readout: str = "prototypes") -> Path:
        labelled = readout == "prototypes"
        kind, head = ("people", "{kind: prototypes, metric_episodes: 4}") if labelled else ("style", readout)
        path = tmp_path_factory.mktemp("recipe") / f"{readout}.yaml"
        path.write_text(
            f"model: {shared / 'models/stories260k'}\nadapter: {{kind: lora, rank: 2, layers: 2}}\n"
            f"tasks: {{kind: synthetic, variant: {kind}, ways: 2, shots: 2, queries: 2}}\nreadout: {head}\n"
            "rule: {kind: sgd, lr: 0.1}\nlearner: {kind: fomaml, steps: 2}\n"
            "train: {iterations: 2, tasks_per_step: 2, validate_every: 2, validation_episodes: 2, "
            "checkpoint_every: 1}\n"
        )
        return path

    return write


@pytest.fixture(scope="session")
def trained(small: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `sorting` and `writing`, and the home of a store that knows them."""
    folder = tmp_path_factory.mktemp("trained")
    for name, readout in (("sorting", "prototypes"), ("writing", "completion")):
        order = ["meta-train", str(small(readout)), "--out", str(folder / name)]
        done = CliRunner().invoke(app, order, env={"MELPA_HOME": str(folder / "home")})
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def home(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own for one test, which knows both runs."""
    shutil.copytree(trained / "home", tmp_path / "home")
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def short_text() -> Iterator[None]:
    """Measures general ability on four sentences in place of the whole text."""
    patch = pytest.MonkeyPatch()
    patch.setattr(perplexity, "MAX_DOCUMENTS", 4)
    perplexity.general_texts.cache_clear()
    yield
    patch.undo()
    perplexity.general_texts.cache_clear()


@pytest.fixture(scope="module")
def short_searches(short_text: None) -> Iterator[None]:
    """Searches a random start at few rates and steps, and measures costs on one episode."""
    patch = pytest.MonkeyPatch()
    patch.setattr(methods, "SCHEDULE", Schedule(rates=(1e-3, 1e-2), steps=(1, 3)))
    patch.setattr(costs, "EPISODES", 1)
    patch.setattr(costs, "GENERAL_EPISODES", 1)
    yield
    patch.undo()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the commands of a benchmark in this process, which has imported everything."""

    def start(self: Commands, words: Sequence[str], *_: int | None) -> subprocess.CompletedProcess[str]:
        done = CliRunner().invoke(app, list(words), env={"MELPA_HOME": str(self.home)})
        return subprocess.CompletedProcess(list(words), done.exit_code, done.stdout, done.stderr)

    monkeypatch.setattr(Commands, "start", start)


@pytest.fixture
def notes(tmp_path: Path) -> Callable[..., Path]:
    """Writes ten labelled notes; `ending` makes them new."""

    def write(ending: str = "") -> Path:
        path = tmp_path / f"notes{ending.strip()}.jsonl"
        rows = [{"text": text + ending, "label": label} for label, texts in TEXTS.items() for text in texts]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Nine lines of one person."""
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path
