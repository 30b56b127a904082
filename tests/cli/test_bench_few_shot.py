"""`melpa bench few-shot`, reduced: a table with all that has to stand in it; a second start does what is missing."""

import json
from pathlib import Path
from typing import Any

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("short_searches")
DOMAINS = {"pets": ("dog", "cat", "bird"), "food": ("cake", "soup"), "play": ("ball", "doll", "kite")}
HEAD = """
model: {model}
adapter: {{kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 2}}
rule: {{kind: adam, lr: 1e-3}}
learner: {{kind: fomaml, steps: 2}}
train: {{iterations: 2, tasks_per_step: 1, validation_episodes: 1}}
"""
FEW = ("--shots", "1,2", "--seeds", "2", "--episodes", "3", "--tuning-episodes", "2", "--queries", "1")
BASELINES = [
    "base",
    "prototypes on frozen features",
    "logistic regression on frozen features",
    "examples in context",
]
BASELINES += ["random start, 2 steps", "random start, best steps"]
BASELINES += ["multi-task, 0 steps", "multi-task, 2 steps", "multi-task, best steps"]
WORTH = ("random start, best steps", *BASELINES[-3:], "small")


@pytest.fixture(scope="module")
def recipe(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three domains of a few labels, one of them unseen, on a very small base."""
    folder = tmp_path_factory.mktemp("few-shot")
    rows = [
        {"text": f"I see a {noun} number {i}", "label": noun, "domain": domain}
        for domain, nouns in DOMAINS.items()
        for noun in nouns
        for i in range(4)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = "{kind: jsonl, train: rows.jsonl, group: domain, ways: 3, shots: 1, hold_out: [play], validation: [food]}"
    path = folder / "small.yaml"
    head = HEAD.format(model=shared / "models" / "stories260k")
    path.write_text(f"{head}tasks: {tasks}\nreadout: {{kind: prototypes, metric_episodes: 2}}\n")
    return path


@pytest.fixture(scope="module")
def folder(recipe: Path, short_searches: None) -> Path:
    """Where the first benchmark was made."""
    said(str(recipe), *FEW, "--out", str(recipe.parent / "out"), "--json")
    return recipe.parent / "out"


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", "few-shot", *words])


def said(*words: str) -> str:
    done = call(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: str) -> str:
    done = call(*words)
    assert done.exit_code == 1 and "Traceback" not in done.output
    return str(done.stderr)


def test_every_baseline_stands_in_the_table(folder: Path) -> None:
    found = json.loads((folder / "few_shot.json").read_text())
    assert list(found["methods"]) == [*BASELINES, "small"]
    for name, method in found["methods"].items():
        assert list(method["shots"]) == ["1", "2"]
        for entry in method["shots"].values():
            assert 0 <= entry["accuracy"]["mean"] <= 1 and 0 <= entry["worse"] <= 1, name
            assert entry["nbytes"] > 0 and entry["inference_ms"] > 0, name
    last = {name: method["shots"]["2"] for name, method in found["methods"].items()}
    small, base = last["small"], last["base"]
    # LoRA of rank 2 on q (64 to 64) and v (64 to 32) of two blocks, and the temperature
    assert small["parameters"] == 2 * (2 * (64 + 64) + 2 * (64 + 32)) + 1
    assert small["share"] == pytest.approx(897 / 260_032, rel=0.02)
    assert base["parameters"] == last["multi-task, 0 steps"]["parameters"] == 0
    assert small["flops"] > base["flops"] > 0 == last["examples in context"]["flops"]
    assert last["random start, 2 steps"]["flops"] == small["flops"], "equal steps"
    assert base["worse"] == 0 and base["general"][0] == base["general"][1] > 0
    assert small["general"][0] == base["general"][0] != small["general"][1]
    assert last["examples in context"]["general"] == [None, None]
    assert small["training"] > 0 and last["random start, 2 steps"]["training"] is None
    assert "break_even" in small and "break_even" not in base
    best = last["random start, best steps"]
    assert small["amortised"]["1000"] == pytest.approx(small["training"] / 1000 + small["seconds"])
    assert best["amortised"]["1"] == pytest.approx(best["tuning"] + best["seconds"]) and "steps_to" not in best
    assert small["steps_to"]["target"] == pytest.approx(best["accuracy"]["mean"], abs=1e-5)
    assert "amortised" not in base and "break_even_5x" in small
    assert "gain" in small and "gain" not in last["multi-task, best steps"]


def test_the_random_start_is_not_repeated_and_runs_are(folder: Path) -> None:
    files = [path.name for path in (folder / "results").iterdir()]
    assert sum(name.startswith("random_start") for name in files) == 4  # 2 shots; equal and best steps
    assert sum(name.startswith("multi_task") for name in files) == 3 * 2 * 2
    assert sum(name.startswith("small.") for name in files) == 2 * 2
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert {"small.seed0", "small.seed1"} < runs and len(runs) == 4
    joint = next(path for path in (folder / "runs").iterdir() if path.name.startswith("multi_task"))
    assert "steps: 0" in (joint / "recipe.yaml").read_text()
    thetas = [(folder / "runs" / f"small.seed{k}" / "theta.safetensors").read_bytes() for k in range(2)]
    assert thetas[0] != thetas[1], "seeds differ"


def test_the_table_and_pictures_are_written(folder: Path) -> None:
    table = (folder / "table.md").read_text()
    assert all(f"| {name} |" in table for name in (*BASELINES, "small"))
    methods, worth = table.split("Seconds a task, with meta-training")
    for each in (methods, worth):
        assert len({line.count("|") for line in each.splitlines() if line.startswith("|")}) == 1
    rows = [line.split(" | ")[0][2:] for line in worth.splitlines() if line.startswith("|")][2:]
    assert list(dict.fromkeys(rows)) == [name for name in (*BASELINES, "small") if name in WORTH]
    for name in ("steps-1.png", "steps-2.png", "shots.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_a_second_start_does_what_is_missing(recipe: Path, folder: Path) -> None:
    order = (str(recipe), *FEW, "--out", str(folder), "--json")
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}
    theta = folder / "runs" / "small.seed0" / "theta.safetensors"
    trained = theta.stat().st_mtime_ns
    gone = folder / "results" / "small.2.seed1.json"
    measures = json.loads(gone.read_text())["measures"]
    gone.unlink()
    said(*order)
    assert json.loads(gone.read_text())["measures"] == measures
    assert theta.stat().st_mtime_ns == trained
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path != gone)


def test_what_does_not_belong_in_a_folder_is_refused(recipe: Path, folder: Path, tmp_path: Path) -> None:
    order = (str(recipe), *FEW, "--out", str(folder))
    assert "holds results with episodes 3, not 4; give another --out" in refused(*order, "--episodes", "4")
    assert "holds results with episodes_by_shots " in refused(*order, "--ways", "2")
    changed = refused(*order, "--set", "train.iterations=3")
    assert "holds results with runs small.seed0 train iterations 2, not 3" in changed
    assert "Give --out DIR" in refused(str(recipe), *FEW)
    assert "--shots: '1,none' is no list of whole numbers" in refused(str(recipe), "--shots", "1,none")
    assert "--generate: the recipes give labels" in refused(*order, "--generate", "1")
    assert "two recipes are called small" in refused(str(recipe), str(recipe), *FEW)
    assert "recipe sinusoid-maml has no language model" in refused("sinusoid-maml")
    other = recipe.with_name("other.yaml")
    other.write_text(recipe.read_text().replace("[play]", "[pets]"))
    assert "recipes small and other draw other test episodes" in refused(
        str(recipe), str(other), *FEW, "--out", str(tmp_path)
    )


def test_people_s_text_is_compared_too(shared: Path, tmp_path: Path) -> None:
    lines = [
        {"user": user, "text": f"{user} saw {n} birds"}
        for user in ("Ann", "Ben", "Cid", "Dora", "Eve")
        for n in range(5)
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tasks = "{kind: jsonl, train: lines.jsonl, shots: 3, queries: 2, hold_out: [Eve], validation: [Dora]}"
    head = HEAD.format(model=shared / "models" / "stories260k")
    (tmp_path / "lines.yaml").write_text(f"{head}tasks: {tasks}\nreadout: {{kind: completion, max_length: 48}}\n")
    few = ("--shots", "3", "--seeds", "1", "--episodes", "2", "--tuning-episodes", "2", "--queries", "2")
    found = json.loads(said(str(tmp_path / "lines.yaml"), *few, "--out", str(tmp_path / "out"), "--json"))
    assert found["measure"] == "bits_per_byte"
    methods = {name: method["shots"]["3"] for name, method in found["methods"].items()}
    assert not any("frozen features" in name for name in methods)
    assert methods["examples in context"]["bits_per_byte"]["mean"] < methods["base"]["bits_per_byte"]["mean"]
    assert methods["random start, best steps"]["worse"] == 0
    assert "bleu" not in methods["base"]
    results = tmp_path / "out" / "results"
    before = {path: json.loads(path.read_text()) for path in results.iterdir()}
    for generate in ("1", "2"):  # what was measured stays, and more is written where there is less
        order = (str(tmp_path / "lines.yaml"), *few, "--out", str(tmp_path / "out"), "--generate", generate)
        said(*order)
        for path, known in before.items():
            found = json.loads(path.read_text())
            written = found.pop("written")
            assert found == known and [len(written[name]) for name in ("bleu", "rouge_l")] == [int(generate)] * 2
    found = json.loads((tmp_path / "out" / "few_shot.json").read_text())
    for method in found["methods"].values():
        assert 0 <= method["shots"]["3"]["bleu"]["mean"] <= 1
    assert "| BLEU, 3 shots | ROUGE-L, 3 shots |" in (tmp_path / "out" / "table.md").read_text()
    few = ("--episodes", "2", "--tuning-episodes", "2", "--queries", "2", "--shots", "3", "--generate", "2", "--json")
    run = str(tmp_path / "out" / "runs" / "lines.seed0")
    judged = CliRunner().invoke(app, ["eval", run, "--methods", "base,in_context,meta", *few])
    assert judged.exit_code == 0, judged.output
    assert 0 <= json.loads(judged.stdout)["in_context"]["bleu"] <= 1
    for name, title in (("base", "base"), ("meta", "lines")):
        entry = found["methods"][title]["shots"]["3"]
        for measure in ("bleu", "rouge_l"):
            assert json.loads(judged.stdout)[name][measure] == pytest.approx(entry[measure]["mean"], abs=1e-6), name
