"""The recipes for larger machines: they are valid, and run on tiny models of the same architectures and local data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from mlx_melpa.config.recipe import load_recipe, packaged
from mlx_melpa.errors import DataError, RecipeError
from mlx_melpa.store.run import load_run
from mlx_melpa.training.meta_train import meta_train

pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
pytest.importorskip("transformers", reason="pip install 'mlx-melpa[torch]'")
KINDS = {"a100-gb-moa-glue": "roberta", "a100-melpa-gpt2": "gpt2", "a100-melpa-t5": "t5"}
PAIRS = {
    "cola": ["sentence"],
    "sst2": ["sentence"],
    "mrpc": ["sentence1", "sentence2"],
    "qqp": ["question1", "question2"],
}
PAIRS |= {"mnli": ["premise", "hypothesis"], "qnli": ["question", "sentence"], "rte": ["sentence1", "sentence2"]}
PAIRS |= {"wnli": ["sentence1", "sentence2"]}


def table(columns: list[str], label: str, classes: list[str], rows: int) -> Any:
    features = {c: datasets.Value("string") for c in columns} | {label: datasets.ClassLabel(names=classes)}
    told: dict[str, Any] = {c: [f"{c} {i} says {classes[i % len(classes)]}" for i in range(rows)] for c in columns}
    told |= {label: [i % len(classes) for i in range(rows)]}
    return datasets.DatasetDict({"train": datasets.Dataset.from_dict(told, features=datasets.Features(features))})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """GLUE's columns and CLINC150's, with made-up rows."""
    home = tmp_path_factory.mktemp("data")
    for name, columns in PAIRS.items():
        classes = ["yes", "no", "maybe"] if name == "mnli" else ["yes", "no"]
        table(columns, "label", classes, 18).save_to_disk(str(home / "glue" / name))
    table(["text"], "intent", [f"intent {i}" for i in range(12)], 48).save_to_disk(str(home / "clinc" / "plus"))
    return {"glue": home / "glue", "clinc": home / "clinc"}


def test_every_recipe_for_larger_machines_is_here() -> None:
    assert {name for name in packaged() if name.startswith("a100-")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_two_iterations_on_a_tiny_model(
    name: str, data: dict[str, Path], folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = load_recipe(name).resolved
    assert whole["backend"] == "torch"
    small = {
        "model": folder_of(KINDS[name]),
        "tasks.name": data["clinc" if whole["tasks"]["name"].startswith("clinc") else "glue"],
        "tasks.split": "train",
        "tasks.shots": 2,
        "tasks.queries": 2,
        "train.iterations": 2,
        "train.tasks_per_step": 2,
        "train.validate_every": 2,
        "train.validation_episodes": 2,
    }
    small |= {"tasks.ways": 2, "adapter.layers": 2} if KINDS[name] == "gpt2" else {}
    recipe = load_recipe(name, [f"{key}={value}" for key, value in small.items()])
    events = list(meta_train(recipe, tmp_path / "run"))
    assert [e["event"] for e in events] == ["start", "step", "step", "validation", "end"]
    assert all(np.isfinite(e["loss"]) and e["norm"] > 0 for e in events if e["event"] == "step")
    run = load_run(tmp_path / "run")
    start = run.setup.begin(0)["initializer"]["start"]
    assert (run.theta["initializer"]["start"] - start).abs().max() > 0
    assert run.setup.base.kind == {"roberta": "encoder", "gpt2": "causal", "t5": "encoder-decoder"}[KINDS[name]]


def test_an_encoder_is_asked_for_no_text(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(f'{{"user": "u{i % 4}", "text": "line {i} of mine"}}\n' for i in range(24)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"backend: torch\nmodel: {folder_of('roberta')}\nadapter: {{kind: lora, rank: 2}}\nlearner: fomaml\n"
        f"tasks: {{kind: jsonl, train: {lines}, shots: 2, queries: 2}}\n"
    )
    with pytest.raises(RecipeError, match=r"is an encoder, which reads but can't write"):
        list(meta_train(load_recipe(recipe), tmp_path / "run"))


def test_an_encoder_says_labels_at_its_mask(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    from transformers import AutoTokenizer

    folder = tmp_path / "model"
    shutil.copytree(folder_of("roberta"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    tokenizer.save_pretrained(folder)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"backend: torch\nmodel: {folder}\nadapter: {{kind: lora, rank: 2}}\nlearner: {{kind: fomaml, steps: 1}}\n"
        "tasks: {kind: synthetic, ways: 2, shots: 2, queries: 2}\n"
        "train: {iterations: 1, tasks_per_step: 1, validation_episodes: 1}\n"
    )
    with pytest.raises(RecipeError, match=r"fills in a mask: end readout.template with '<mask>'"):
        list(meta_train(load_recipe(recipe, ["readout=labels"]), tmp_path / "run"))
    with pytest.raises(DataError, match="of several tokens, and a mask stands for one"):
        masked = "readout={kind: labels, template: '{text}<mask>'}"
        list(meta_train(load_recipe(recipe, [masked]), tmp_path / "run"))
