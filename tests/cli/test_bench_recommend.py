"""`melpa bench recommend`, reduced: what is told of a few cases, going on where it stopped, and what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.benchmarks.recommendation import run as bench
from mlx_melpa.benchmarks.recommendation.settings import Settings, check_runs, parted, sources
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import MelpaError
from mlx_melpa.evaluation import curves as evaluate
from mlx_melpa.personal.examples import distinct
from mlx_melpa.recommendation.recommend import compared, left_out, measured
from mlx_melpa.recommendation.similarity import embedded
from mlx_melpa.store.run import load_run

DOMAINS = {"pets": ("dog", "cat", "bird"), "food": ("cake", "soup"), "lone": ("ox",)}
RECIPE = """
model: %s
adapter: {kind: lora, rank: 2, sites: [v_proj], layers: 2}
tasks: {kind: synthetic, kind_of: people, ways: 2, shots: 2, queries: 2}
readout: {kind: prototypes, metric: plain}
rule: {kind: adam, lr: 1e-2}
learner: {kind: fomaml, steps: %d}
train: {iterations: 1, tasks_per_step: 1, validate_every: 1, validation_episodes: 1, checkpoint_every: 1}
"""
FEW = ("--ways", "2", "--shots", "2", "--queries", "2", "--neighbours", "2")
EMBEDDINGS = {"handcrafted", "features", "task2vec"}


@pytest.fixture(scope="module")
def made(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, a file of two usable domains, and one of other labels."""
    folder = tmp_path_factory.mktemp("recommend")
    for name, steps in (("slow", 1), ("quick", 2)):
        (folder / "r.yaml").write_text(RECIPE % (shared / "models" / "stories260k", steps))
        said("meta-train", folder / "r.yaml", "--out", folder / name)
    rows = [
        {"text": f"I see a {noun} number {i}", "label": noun, "domain": domain}
        for domain, nouns in DOMAINS.items()
        for noun in nouns
        for i in range(5)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rest = [{"text": f"{noun} {i}", "label": noun} for noun in ("red", "blue") for i in range(4)]
    (folder / "rest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rest))
    return folder


def call(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(*words: object) -> str:
    done = call(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def order(folder: Path, *words: object, runs: tuple[str, ...] = ("slow", "quick")) -> tuple[object, ...]:
    files = ("--tasks", f"{folder / 'rows.jsonl'}:domain", "--tasks", folder / "rest.jsonl")
    return ("bench", "recommend", *(folder / run for run in runs), *files, *FEW, *words)


def settings(folder: Path, **changed: Any) -> Settings:
    runs = tuple(load_run(folder / name) for name in ("slow", "quick"))
    files = [f"{folder / 'rows.jsonl'}:domain", str(folder / "rest.jsonl")]
    found, notes = sources(files, {run.name: run.info["seen"] for run in runs}, ways=2, shots=2, queries=2)
    return Settings(**{"runs": runs, "sources": found, "notes": notes, "cases": 5, **changed})


def test_a_few_cases_end_to_end_and_going_on(made: Path) -> None:
    out = made / "out"
    found = json.loads(said(*order(made, "--cases", 3, "--out", out, "--json")))
    assert set(found["candidates"]) == {"prototypes", "logistic_regression", "in_context", "adapt slow", "adapt quick"}
    place = made.name
    assert found["sources"] == {f"{place}/rows/pets": 1, f"{place}/rows/food": 1, f"{place}/rest": 1}
    assert set(found["similarity"]) == EMBEDDINGS
    assert {"left out", "constant", "neighbours by task2vec, other sources"} <= set(found["predictors"])
    for entry in found["predictors"].values():
        assert 0 <= entry["best"]["mean"] <= entry["within_one"]["mean"] <= 1 and entry["regret"]["mean"] >= 0
    assert any("'lone'" in note for note in found["notes"])
    first = sorted((out / "cases").glob("*.json"))
    written = {file: file.stat().st_mtime_ns for file in first}
    assert len(first) == 3 and json.loads((out / "recommend.json").read_text()) == found
    shown = said(*order(made, "--cases", 4, "--out", out))
    assert "4 cases from 3 sources" in shown and "claimed" in shown
    assert {file: file.stat().st_mtime_ns for file in first} == written, "what was done is not measured again"
    assert len(list((out / "cases").glob("*.json"))) == 4
    assert (out / "recommend.png").is_file() and "| left out |" in (out / "table.md").read_text()
    told = json.loads(said(*order(made, "--cases", 4, "--out", out, "--estimate", "--json")))
    assert told["seconds"] == 0 and set(told["parts"]) == {"the truth", "left out examples", "task embeddings"}
    other = call(*order(made, "--cases", 4, "--seed", 1, "--out", out))
    assert other.exit_code == 1 and "holds cases with other seed than asked for now" in other.stderr


def test_a_case_is_what_the_commands_would_find(made: Path, tmp_path: Path) -> None:
    asked = settings(made)
    episode = asked.episode(1)
    assert {e.label for e in episode.support} == {"cake", "soup"} == set(episode.labels)
    assert len(episode.support) == 4 == len(episode.query) and not set(episode.support) & set(episode.query)
    found = bench.measure(asked, asked.source(1), episode)
    for run in asked.runs:
        curves, _ = evaluate.curves(run.composed.parts, run.theta, [episode], run.steps)
        assert found.truth[f"adapt {run.name}"]["accuracy"] == pytest.approx(curves["accuracy"][-1, 0])
        told, _ = compared(run, left_out(distinct(episode.support), episode.labels))
        assert found.left_out[f"adapt {run.name}"] == told.pop("adapt")
        assert told == {name: found.left_out[name] for name in told}
    for name, vectors in embedded(asked.runs[0], [episode]).items():
        np.testing.assert_array_equal(found.embeddings[name], vectors[0])
    bench.write(tmp_path, 1, found)
    again = bench.read(tmp_path, 1)
    assert again is not None and again.truth == found.truth and again.left_out == found.left_out
    for name, vector in again.embeddings.items():
        np.testing.assert_allclose(vector, found.embeddings[name], rtol=1e-6)
    measures, _ = measured(asked.runs[0], [episode])
    assert {values.dtype for each in measures.values() for values in each.values()} == {np.dtype(np.float64)}


def test_a_label_with_no_example_among_those_used_is_not_asked_about() -> None:
    """34 labels, two examples of each, are 68: the last two labels have none among the 64 that are used."""
    labels = tuple(f"n{i}" for i in range(34))
    support = tuple(Example(f"{label} {i}", label=label) for label in labels for i in range(2))
    for drawn in bench.known(Episode("", support, (), labels)):
        assert drawn.labels == labels[:32] and {e.label for e in drawn.support} == set(labels[:32])


def test_cases_with_nothing_to_leave_out_are_refused_before_any_is_measured(made: Path, tmp_path: Path) -> None:
    rows = [{"text": noun, "label": noun} for noun in ("red", "blue") for _ in range(4)]
    (tmp_path / "same.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for last in (("--out", tmp_path / "out"), ("--estimate",)):
        done = call(*order(made, "--tasks", tmp_path / "same.jsonl", "--cases", 4, *last))
        said = " ".join(done.stderr.split())
        assert done.exit_code == 1 and "case 3, of " in said and "no label has two different ones" in said
    assert not (tmp_path / "out").exists()


def test_candidates_may_be_fewer(made: Path) -> None:
    assert list(settings(made, methods=("adapt",)).candidates) == ["adapt slow", "adapt quick"]
    asked = settings(made, methods=("adapt", "prototypes"))
    assert list(bench.asking(asked, [asked.episode(0)])) == ["prototypes", "adapt slow", "adapt quick"]
    with pytest.raises(MelpaError, match="--methods: 'guess' is no method; choose from prototypes, logistic"):
        settings(made, methods=("guess",))
    with pytest.raises(MelpaError, match="with one candidate there is nothing to predict"):
        settings(made, methods=("prototypes",))


def test_a_file_with_a_colon_and_a_group() -> None:
    assert parted("a/b.jsonl:domain") == ("a/b.jsonl", "domain")
    assert parted("a/b.jsonl") == ("a/b.jsonl", None)
    assert parted(f"{Path(__file__)}") == (str(Path(__file__)), None)


def test_what_is_refused(made: Path, tmp_path: Path) -> None:
    done = call(*order(made))
    assert done.exit_code == 1 and "Give --out DIR" in done.stderr and "Traceback" not in done.output
    (tmp_path / "lines.txt").write_text("one line\nanother line\nand one more\n")
    done = call("bench", "recommend", made / "slow", "--tasks", tmp_path / "lines.txt", *FEW)
    assert done.exit_code == 1 and "its rows have no labels; name their field with --label" in done.stderr
    done = call(*order(made, "--tasks", made / "rest.jsonl"))
    assert done.exit_code == 1 and "is there already; name each once" in done.stderr

    def run(name: str, weights: str, classifies: bool = True) -> Any:
        composed = SimpleNamespace(model=1, readout=SimpleNamespace(classifies=classifies))
        return SimpleNamespace(
            name=name, composed=composed, info={"base": {"name": weights, "family": "f", "weights": weights}}
        )

    check_runs([run("one", "w"), run("two", "w")])
    with pytest.raises(MelpaError, match="run 'two' has base 'v', and 'one' another, 'w'; name runs of one base"):
        check_runs([run("one", "w"), run("two", "v")])
    with pytest.raises(MelpaError, match="run 'text' gives no labels"):
        check_runs([run("text", "w", classifies=False)])
