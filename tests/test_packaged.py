"""The packaged recipes: one for every method, and each runs; those for larger machines are tested under torch."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mlx_melpa.config.kinds import kinds
from mlx_melpa.config.recipe import load_recipe, packaged
from mlx_melpa.training.meta_train import meta_train

HERE = [name for name in packaged() if not name.startswith("a100-")]
SMALL = {"shots": 2, "queries": 2, "ways": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Labelled texts by domain, and people's lines, in files as the recipes name their fields."""
    folder = tmp_path_factory.mktemp("data")
    domains = ["travel", "utility", "work", "banking", "credit_cards", *"abcde"]
    labelled = [
        {"text": f"{domain} {label} {n}", "label": f"{domain} {label}", "domain": domain}
        for domain in domains
        for label in range(3)
        for n in range(6)
    ]
    files = {"labelled": labelled}
    for part in ("train", "test"):
        files[part] = [{"user": f"{part} {user}", "text": f"{n} is my {user}"} for user in range(6) for n in range(8)]
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {name: folder / f"{name}.jsonl" for name in files}


def changes(name: str, data: dict[str, Path], shared: Path) -> Sequence[str]:
    """What makes two small iterations of a recipe."""
    whole = load_recipe(name).resolved
    small = {f"tasks.{key}": n for key, n in SMALL.items() if whole["tasks"].get(key) is not None}
    if whole["tasks"]["kind"] == "jsonl":
        files = ("train", "test") if whole["tasks"]["test"] else ("labelled",)
        small |= {f"tasks.{key}": data[file] for key, file in zip(("train", "test"), files, strict=False)}
    if whole["model"]:
        small |= {"model": shared / "models" / "stories260k"}
        small |= {"readout.metric_episodes": 2} if "metric_episodes" in whole["readout"] else {}
    small |= {f"train.{key}": 2 for key in ("iterations", "tasks_per_step", "validation_episodes")}
    return [f"{key}={value}" for key, value in small.items()]


@pytest.mark.parametrize("name", HERE)
def test_two_iterations(name: str, data: dict[str, Path], shared: Path, tmp_path: Path) -> None:
    recipe = load_recipe(name, changes(name, data, shared))
    events = list(meta_train(recipe, tmp_path / "run"))
    assert [e["event"] for e in events] == ["start", "step", "step", "validation", "end"]
    assert all(np.isfinite(e["loss"]) and e["norm"] > 0 for e in events if e["event"] == "step")


@pytest.mark.parametrize("part", ["adapter", "readout", "initializer", "rule", "learner", "sampler"])
def test_every_method_has_a_recipe(part: str) -> None:
    """Of the regularizers, those for streams are the continual benchmark's methods."""
    used = {(load_recipe(name).resolved[part] or {}).get("kind") for name in packaged()}
    assert kinds(part).keys() <= used, "add a recipe for it"


@pytest.mark.parametrize(("name", "embedding", "curriculum"), [("gb-moa", 128, True), ("melpa", None, False)])
def test_the_papers_configurations(name: str, embedding: int | None, curriculum: bool) -> None:
    whole = load_recipe(name).resolved
    assert (whole["adapter"]["kind"], whole["adapter"]["width"]) == ("bottleneck", 64)
    assert whole["initializer"].get("embedding") == embedding
    assert (whole["learner"]["kind"], whole["learner"]["steps"], whole["rule"]["lr"]) == ("maml", 5, 0.01)
    outer = whole["train"]["optimizer"]
    assert (outer["kind"], outer["lr"], outer["weight_decay"]) == ("adamw", 5e-5, 0.01)
    assert (whole["sampler"]["kind"] == "curriculum") == curriculum
