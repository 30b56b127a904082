"""Variants and chosen baselines of `melpa bench few-shot`: one folder, which goes on with more of both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("short_searches")
FEW = ("--shots", "2", "--seeds", "1", "--episodes", "2", "--tuning-episodes", "2", "--queries", "1", "--json")


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", "few-shot", *words])


def said(*words: str) -> Any:
    done = call(*words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*words: str) -> str:
    done = call(*words)
    assert done.exit_code == 1 and "Traceback" not in done.output
    return str(done.stderr)


def test_a_folder_goes_on_with_more_methods_and_variants(small: Callable[..., Path], tmp_path: Path) -> None:
    recipe, out = str(small()), ("--out", str(tmp_path / "out"))
    found = said(recipe, *FEW, *out, "--methods", "meta,prototypes")
    assert list(found["methods"]) == ["prototypes on frozen features", "prototypes"]
    assert found["methods"]["prototypes"]["shots"]["2"]["worse"] is None
    assert "Left out: base, logistic regression on frozen features," in (tmp_path / "out" / "table.md").read_text()
    assert {path.name for path in (tmp_path / "out" / "runs").iterdir()} == {"prototypes.seed0"}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}

    more = "base,prototypes,random_start,multi_task,meta"
    one = f"one-step={recipe},learner.steps=1"
    low = f"low-rank={recipe},adapter={{kind: lora, rank: 1, layers: 2}},rule={{kind: sgd, lr: 0.01}}"
    found = said(recipe, one, low, *FEW, *out, "--methods", more)
    grounds = ("prototypes", "low-rank")
    wanted = []
    for ground, steps in zip(grounds, ((1, 2), (2,)), strict=True):
        wanted += [f"base ({ground})", f"prototypes on frozen features ({ground})"]
        wanted += [f"random start, {n} ({ground})" for n in (*(f"{k} steps" for k in steps), "best steps")]
        wanted += [f"multi-task, {n} ({ground})" for n in ("0 steps", *(f"{k} steps" for k in steps), "best steps")]
    assert list(found["methods"]) == [*wanted, "prototypes", "one-step", "low-rank"], "in order, whatever came first"
    assert found["methods"]["one-step"]["shots"]["2"]["steps"] == 1
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    left = ["logistic regression on frozen features", "examples in context"]
    assert found["left_out"] == left
    runs = tmp_path / "out" / "runs"
    assert len([path for path in runs.iterdir() if path.name.startswith("multi_task")]) == 2, "one for each ground"
    assert "lr: 0.01" in (runs / "low-rank.seed0" / "recipe.yaml").read_text()

    other = one.replace("learner.steps=1", "learner.steps=3")
    told = refused(other, *FEW, *out)
    assert "holds results with runs one-step.seed0 learner steps 1, not 3; give another --out" in told


def test_what_can_t_be_compared_is_refused(small: Callable[..., Path], tmp_path: Path) -> None:
    recipe, out = str(small()), ("--out", str(tmp_path / "out"))
    told = "--methods: 'knn' is no method; choose from base, prototypes,"
    assert told in refused(recipe, *FEW, *out, "--methods", "base,knn")
    assert "--methods: names no method; choose from base" in refused(recipe, *FEW, *out, "--methods", "")
    assert "two recipes are called a" in refused(f"a={recipe}", f"a={recipe},learner.steps=1", *FEW, *out)
    assert "a recipe can't be called base, as a method is" in refused(f"base={recipe}", *FEW, *out)
    assert "variant a: " in refused(f"a={recipe},learner.stpes=1", *FEW, *out)
