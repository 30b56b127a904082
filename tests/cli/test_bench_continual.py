"""`melpa bench continual`, reduced: all methods on three small tasks; a second start goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.benchmarks.continual.methods import KINDS
from mlx_melpa.benchmarks.continual.metrics import NAMES

pytestmark = pytest.mark.usefixtures("short_text")
FEW = [
    "--steps",
    "2",
    "--orders",
    "2",
    "--seeds",
    "1",
    "--shots",
    "2",
    "--queries",
    "2",
    "--buffer",
    "3",
    "--rates",
    "3e-3",
]


@pytest.fixture
def recipe(shared: Path, tmp_path: Path) -> Path:
    """Three tasks of two labels each, on a very small model."""
    rows = [
        {"text": f"{word} number {i}", "label": f"{topic} {word}", "topic": topic}
        for topic, words in {"a": ("cats", "dogs"), "b": ("red", "blue"), "c": ("north", "south")}.items()
        for word in words
        for i in range(10)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "small.yaml"
    path.write_text(
        f"model: {shared / 'models/stories260k'}\n"
        "adapter: {kind: lora, rank: 2, layers: 1, sites: [q_proj, v_proj]}\n"
        "tasks: {kind: jsonl, train: rows.jsonl, group: topic, ways: 2, shots: 2, queries: 2}\n"
        "readout: {kind: prototypes, metric: plain}\nlearner: {kind: fomaml, steps: 1}\n"
    )
    return path


def said(*words: str) -> str:
    done = CliRunner().invoke(app, ["bench", "continual", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_method_is_measured_kept_and_drawn(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    found = json.loads(said(str(recipe), *FEW, "--out", str(folder), "--json"))
    assert list(found["methods"]) == list(KINDS)
    assert found["chance"] == 0.5 and found["tasks"] == ["a", "b", "c"]
    methods = found["methods"]
    for name, entry in methods.items():
        assert 0 <= entry["acc"]["mean"] <= 1 and set(NAMES) <= set(entry)
        assert entry["runs"] == (2 if KINDS[name].ordered else 1)
        assert entry["steps"] == (0 if name == "frozen" else 6), "equal gradient steps"
        assert entry["stored"] == (9 if KINDS[name].stores_examples else 0)
        before, after = entry["general"]
        assert before == pytest.approx(methods["naive"]["general"][0]), "the base's: a random start changes nothing"
        assert (after == before) == (name == "frozen")
        assert entry["flops"] > 0
    assert methods["frozen"]["flops"] < methods["naive"]["flops"] < methods["replay"]["flops"]
    assert methods["single_task"]["bwt"]["mean"] == methods["single_task"]["forgetting"]["mean"] == 0
    assert methods["single_task"]["fwt_single"]["mean"] == 0 and methods["naive"]["fwt_single"]["mean"] is not None
    assert methods["joint"]["bwt"]["mean"] is None
    more = methods["single_task"]["nbytes"] - methods["naive"]["nbytes"]
    assert more == 2 * 2 * methods["naive"]["parameters"], "two rows more, as fp16"
    assert len(list((folder / "streams").iterdir())) == sum(entry["runs"] for entry in methods.values())
    assert json.loads((folder / "continual.json").read_text()) == found
    assert (folder / "r-replay.png").is_file() and (folder / "tasks-replay.png").is_file()
    assert (folder / "so-far.png").is_file()


def test_a_second_start_goes_on(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    order = [str(recipe), "--methods", "naive", *FEW, "--out", str(folder), "--json"]
    first = json.loads(said(*order))
    streams = sorted((folder / "streams").iterdir())
    times = [path.stat().st_mtime_ns for path in streams]
    streams[1].unlink()
    again = json.loads(said(*order))
    assert streams[0].stat().st_mtime_ns == times[0] and streams[1].is_file()
    assert again["methods"]["naive"]["acc"] == first["methods"]["naive"]["acc"]
    done = CliRunner().invoke(app, ["bench", "continual", *order, "--rates", "1e-2"])
    assert done.exit_code == 1 and "give another --out" in done.stderr


def test_rates_are_tuned_once(recipe: Path, tmp_path: Path) -> None:
    order = [str(recipe), "--methods", "naive", *FEW, "--rates", "1e-3,3e-2", "--json"]
    folder = tmp_path / "out"
    entry = json.loads(said(*order, "--out", str(folder)))["methods"]["naive"]
    tried = {path.stem: json.loads(path.read_text())["r"][-1] for path in (folder / "tuning").iterdir()}
    best = max(("1e-3", "3e-2"), key=lambda lr: sum(tried[f"naive.{float(lr):g}.None"]))
    assert entry["lr"] == float(best)
    trials = {path.name: path.stat().st_mtime_ns for path in (folder / "tuning").iterdir()}
    for path in (folder / "streams").iterdir():
        path.unlink()
    again = json.loads(said(*order, "--out", str(folder)))["methods"]["naive"]
    assert again["lr"] == entry["lr"] and again["acc"] == entry["acc"]
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "tuning").iterdir()} == trials


def test_among_all_labels_a_task_is_harder(recipe: Path, tmp_path: Path) -> None:
    order = [str(recipe), "--methods", "frozen,single_task,naive", *FEW, "--orders", "1", "--json"]
    own = json.loads(said(*order))
    among_all = ("--scenario", "class-incremental")
    found = json.loads(said(*order, *among_all, "--out", str(tmp_path / "out")))
    assert (own["scenario"], found["scenario"], found["chance"]) == (
        "task-incremental",
        "class-incremental",
        pytest.approx(1 / 6),
    )
    for name in ("frozen", "naive"):
        entry, before = found["methods"][name], own["methods"][name]
        assert entry["acc"]["mean"] <= before["acc"]["mean"] and entry["fwt_gem"]["mean"] is None
        assert entry["r"][0][0] == before["r"][0][0] and entry["r"][0][1] is None
        assert entry["fwt_single"]["mean"] is None, "single tasks are measured among their own labels"
    assert found["methods"]["single_task"]["r"][-1] == own["methods"]["single_task"]["r"][-1]
    assert (tmp_path / "out/r-naive.png").is_file()


@pytest.fixture
def letters(shared: Path, tmp_path: Path) -> Path:
    """Someone's sentences of three years, to be written."""
    rows = [
        {"text": f"In {year} the {word} was number {i}.", "context": str(year)}
        for year, word in ((1900, "horse"), (1950, "tractor"), (2000, "computer"))
        for i in range(10)
    ]
    (tmp_path / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "letters.yaml"
    path.write_text(
        f"model: {shared / 'models/stories260k'}\n"
        "adapter: {kind: lora, rank: 2, layers: 1, sites: [q_proj, v_proj]}\n"
        "tasks: {kind: jsonl, train: letters.jsonl, group: context, shots: 3, queries: 2}\n"
        "readout: completion\nlearner: {kind: fomaml, steps: 1}\n"
    )
    return path


def test_texts_are_streams_in_bits_per_byte(letters: Path, tmp_path: Path) -> None:
    few = [*FEW, "--orders", "1", "--steps", "5", "--rates", "1e-2"]
    found = json.loads(said(str(letters), *few, "--json", "--out", str(tmp_path / "out")))
    assert (found["measure"], found["chance"], found["tasks"]) == ("bits_per_byte", None, ["1900", "1950", "2000"])
    assert {"lwf", "con_pet_dynamic"}.isdisjoint(found["methods"]) and {"replay", "ewc"} <= set(found["methods"])
    frozen, entry = found["methods"]["frozen"], found["methods"]["naive"]
    assert entry["acc"]["mean"] < frozen["acc"]["mean"], "fewer bits after learning"
    r = entry["r"]
    assert entry["bwt"]["mean"] == pytest.approx(((r[0][0] - r[2][0]) + (r[1][1] - r[2][1])) / 2)
    assert frozen["bwt"]["mean"] == frozen["fwt_gem"]["mean"] == 0
    assert "bits per byte of a task's texts" in said(str(letters), *few, "--out", str(tmp_path / "out"))
    for words, problem in (
        (["--methods", "lwf"], "'lwf' answers with labels, and these tasks are texts"),
        (["--scenario", "class-incremental"], "texts have no labels to choose from"),
        (["--set", "readout=prototypes"], "the tasks are texts, and readout 'prototypes' is not for them"),
    ):
        done = CliRunner().invoke(app, ["bench", "continual", str(letters), *few, *words])
        assert done.exit_code == 1 and problem in done.stderr


def test_a_run_is_another_start(small: Callable[..., Path], trained: Path, recipe: Path) -> None:
    run = str(trained / "sorting")
    text = recipe.read_text().split("\n", 1)[1]
    recipe.write_text(f"model: pocket\n{text}")
    found = json.loads(said(str(recipe), "--methods", "naive,o_lora", *FEW, "--run", run, "--json"))
    assert list(found["methods"]) == ["naive", "naive from sorting", "o_lora"]
    assert found["methods"]["naive from sorting"]["lr"] is None
    assert "stories260k" in found["recipe"]["model"], "what is written is what was used: the run's own"
    other = ["bench", "continual", str(recipe), *FEW, "--run", run, "--set", "adapter.rank=4"]
    refused = CliRunner().invoke(app, other)
    assert refused.exit_code == 1 and "--set adapter.rank=4: with --run all but tasks is the run's" in refused.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--methods", "sequential"], "'sequential' is now 'naive'"),
        (["--methods", "magic"], "'magic' is no method; choose from frozen, naive"),
        (["--rates", "fast"], "'fast' is no list of numbers"),
        (["--tasks", "a,zoo"], "has no task 'zoo'"),
        (["--set", "readout=completion"], "the tasks are labels, and readout 'completion' is not for them"),
        (
            ["--scenario", "class-incremental", "--set", "readout={kind: labels, words: letters}"],
            "add --set readout.words=own",
        ),
        (["--scenario", "class-incremental", "--set", "readout=linear"], "a head of 'linear' has one task's labels"),
        (["--scenario", "class-incremental", "--set", "readout=ridge"], "a head of 'ridge' has one task's labels"),
        (["--methods", "o_lora", "--set", "adapter={kind: bottleneck, width: 2}"], "puts LoRA beside LoRA"),
        (["--corpus", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_mistakes_are_told_in_a_sentence(recipe: Path, words: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["bench", "continual", str(recipe), *words])
    assert done.exit_code == 1 and problem in done.stderr


def test_both_engines_find_the_same(recipe: Path) -> None:
    pytest.importorskip("torch")
    found = [json.loads(said(str(recipe), *FEW, "--orders", "1", "--json", "--backend", b)) for b in ("mlx", "torch")]
    for name, entry in found[0]["methods"].items():
        for mine, others in zip(entry["r"], found[1]["methods"][name]["r"], strict=True):
            assert mine == pytest.approx(others, abs=0.26), f"{name}: one of four examples at most"
        assert entry["nbytes"] == found[1]["methods"][name]["nbytes"]
