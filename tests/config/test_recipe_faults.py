"""Every mistake in a recipe is named with its place, its value and what is allowed."""

from typing import Any

import pytest
from toys.recipes import GOOD, said

from mlx_melpa.config.recipe import InvalidRecipe


def test_all_faults_come_at_once_with_their_lines(load: Any) -> None:
    text = GOOD.replace("rank: 4", "rank: 0, rnak: 2").replace("learner: fomaml", "learner: fomalm\ntrian: {}")
    with pytest.raises(InvalidRecipe) as caught:
        load(text)
    faults = caught.value.faults
    assert [(f.place.line, f.key) for f in faults] == [
        (3, "adapter.rnak"),
        (3, "adapter.rank"),
        (10, "learner.kind"),
        (11, "trian"),
    ]
    message = str(caught.value)
    assert message.startswith("4 faults in recipe r.yaml\n")
    assert (
        "r.yaml:3: adapter.rnak: unknown setting 'rnak'; did you mean 'rank'? (known: layers, rank, scale)" in message
    )
    assert "adapter.rank: expected a whole number at least 1 and at most 256, found 0" in message
    assert "unknown kind 'fomalm'; did you mean 'fomaml'?" in message
    assert "r.yaml:11: trian: unknown key; did you mean 'train'?" in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rank: 4", "rank: 4, rank: 5", "r.yaml:3: adapter.rank: written twice, on lines 3 and 3"),
        ("learner: fomaml", "learner: fomaml\nmodel: x", "r.yaml:2: model: written twice, on lines 2 and 11"),
        ("rank: 4", "rank: four", "adapter.rank: expected a whole number at least 1 and at most 256, found 'four'"),
        ("rank: 4", "rank: 1.5", "adapter.rank: expected a whole number at least 1 and at most 256, found 1.5"),
        ("rank: 4", "rank: true", "found true"),
        ("lr: 1e-4", "lr: 0", "r.yaml:9: rule.lr: expected a number more than 0, found 0"),
        ("lr: 1e-4", "lr: .nan", "rule.lr: expected a number more than 0, found nan"),
        ("lr: 1e-4", "lr: 0.1\n  each: 1", "rule.each: expected true or false, found 1"),
        ("train: notes.jsonl", "shots: 3", "r.yaml:4: tasks: missing setting 'train': text, or a list of (text)"),
        ("train: notes.jsonl", "train: n\n  hold_out: 1.5", "a list of (text), or a number at least 0 and at most 1"),
        ("train: notes.jsonl", "train: n\n  queries: 0", "a whole number at least 1, or null, found 0"),
        ("rank: 4", "layers: al", "'all', or a whole number at least 1, or a list of (a whole number), found 'al'"),
        ("model: pocket", "model: no", "r.yaml:2: model: expected text, or null, found false"),
        ("model: pocket\n", "", "missing key 'model', or 'problem' for one without a language model"),
        ("learner: fomaml", "", "r.yaml:1: missing key 'learner': a kind (fomaml, maml, reptile)"),
        ("adapter: {kind: lora, rank: 4}", "", "missing key 'adapter': a kind (lora)"),
        (
            "learner: fomaml",
            "learner: [fomaml]",
            "learner: expected a kind (fomaml, maml, reptile) or {kind: ..., its settings}",
        ),
        ("learner: fomaml", "learner: {steps: 3}", "found {'steps': 3}"),
        (
            "learner: fomaml",
            "learner: fomaml\nproblem: regression",
            "'regression' brings its own network and has no model",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\nbackend: mxl",
            "backend: expected 'mlx' or 'torch', found 'mxl'; did you mean 'mlx'?",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\ntrain: [1]",
            "r.yaml:11: train: expected a mapping of settings, found [1]",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\ntrain:\n  optimizer: {kind: adma}",
            "r.yaml:12: train.optimizer.kind: unknown kind 'adma'; did you mean 'adam'?",
        ),
        (
            "learner: fomaml",
            "learner: fomaml\ntrain:\n  optimizer:\n    kind: adam\n    betas: [0.9, 2]",
            "r.yaml:14: train.optimizer.betas[1]: expected a number at least 0 and at most 0.99999, found 2",
        ),
        ("rule:\n  kind", "rule:\n\tkind", "r.yaml:8: a tab; YAML indents with spaces only"),
        ("rank: 4}", "rank: 4", "r.yaml:4: "),
        ("lr: 1e-4", "lr: 2024-13-45", "rule.lr: '2024-13-45' can't be read"),
        ("lr: 1e-4", "lr: !!python/object:os.system x", "r.yaml:9: could not determine a constructor"),
        ("rank: 4", "? [a] : 4", "line 3: a key has to be text"),
        ("rank: 4}", "layers: &loop [*loop]}", "an alias that holds itself"),
        ("# a comment", "# \x07", "r.yaml:1: a character that YAML does not allow"),
    ],
)
def test_a_mistake_is_named_with_its_place(load: Any, old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in said(load, GOOD.replace(old, new))


@pytest.mark.parametrize(("text", "found"), [("- a\n- b\n", "a list"), ("", "nothing"), ("hello", "'hello'")])
def test_the_root_is_a_mapping(load: Any, text: str, found: str) -> None:
    message = said(load, text)
    assert message.startswith("r.yaml:1: a recipe maps keys (model, adapter,")
    assert message.endswith(f"found {found}")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "train.iterations=0",
            "--set train.iterations=0: train.iterations: expected a whole number at least 1, found 0",
        ),
        ("train.iteration=5", "--set train.iteration=5: train.iteration: unknown setting 'iteration'; did you mean"),
        ("iterations", "--set iterations: expected KEY=VALUE"),
        ("model.name=3", "--set model.name=3: 'model' is 'pocket' and has no keys"),
        ("rule.lr.x=3", "--set rule.lr.x=3: 'rule.lr' is 0.0001 and has no keys"),
        ("rule=[1", "--set rule=[1: '[1' can't be read as YAML"),
    ],
)
def test_a_bad_set_names_itself(load: Any, option: str, message: str) -> None:
    assert message in said(load, GOOD, option)
