"""Baselines: what they compute, how they are tuned, and what `melpa eval` prints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError, MelpaError
from mlx_melpa.evaluation import compare as baselines
from mlx_melpa.evaluation import curves as evaluate
from mlx_melpa.evaluation import text_overlap as overlap
from mlx_melpa.evaluation.baselines import frozen_features as frozen
from mlx_melpa.evaluation.baselines import random_start
from mlx_melpa.evaluation.baselines.in_context import InContext, Trial
from mlx_melpa.evaluation.plots import plot_curves
from mlx_melpa.store.run import Run, load_run
from mlx_melpa.training.meta_train import meta_train

MEASURES = {"accuracy", "f1", "ci95", "loss"}
META = MEASURES | {"seconds_per_task", "worse_than_base", "worst_5_percent"}
HEAD = """
model: {model}
adapter: {{kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 1}}
rule: {{kind: sgd, lr: 0.1}}
learner: {{kind: fomaml, steps: 2}}
train: {{iterations: 1, tasks_per_step: 1, validation_episodes: 1}}
"""
SINUSOID = """
problem: {kind: regression, hidden: [10]}
tasks: {kind: sinusoid, shots: 5, queries: 10}
rule: {kind: sgd, lr: 0.02}
learner: {kind: maml, steps: 1}
train: {iterations: 200, tasks_per_step: 4, optimizer: {kind: adam, lr: 5e-3}, validation_episodes: 2}
"""
SUBJECTS = {"pets": ["dog", "cat", "bird"], "food": ["cake", "soup", "apple"], "play": ["ball", "doll", "kite"]}


def made(folder: Path, text: str) -> Run:
    (folder / "recipe.yaml").write_text(text)
    list(meta_train(load_recipe(folder / "recipe.yaml"), folder / "run"))
    return load_run(folder / "run")


def labelled(path: Path, domains: Sequence[str]) -> Path:
    rows = [
        {"text": f"I see a {noun} number {i}", "label": noun, "domain": domain}
        for domain in domains
        for noun in SUBJECTS[domain]
        for i in range(4)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


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


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_frozen_features_are_means_of_the_base_s_last_and_first_states(intents: Run) -> None:
    composed = intents.composed
    ops, encoder = composed.parts.ops, composed.parts.problem.readout.encoder  # type: ignore[attr-defined]
    rows = ops.array(composed.layout.draw(np.random.default_rng(0))[None])
    texts = ("a dog", "I see a much longer story about a cat", "a cat")
    one = Episode("e", tuple(map(Example, texts[:2])), (Example(texts[2]),))
    found = frozen.features(composed, rows, [one], {})
    for text in texts:
        tokens = ops.array([list(encoder.whole(text))])
        states = [composed.model.hidden(rows, tokens), composed.model.frozen_states(tokens)[0]]
        means = [ops.numpy(s)[0].mean(0) for s in states]
        wanted = np.concatenate([m / np.linalg.norm(m) for m in means])
        np.testing.assert_allclose(found[text], wanted, rtol=1e-4, atol=1e-4)


def test_eval_on_new_tasks_of_a_file(intents: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "VALIDATION", 12)
    monkeypatch.setattr(random_start, "MARKS", (1, 2, 5, 8))
    data = labelled(tmp_path / "test.jsonl", ["pets", "play"])
    arguments = (intents.folder, "--tasks", data, "--episodes", 6, "--steps", 1, "--json", "--out", tmp_path / "out")
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == ["base", *frozen.METHODS, "random_start", "meta", "notes"]
    assert found["notes"] == ["left out 1 tasks (12 examples) that training saw: 'pets'"]
    assert found["base"].keys() >= MEASURES
    assert found["logistic_regression"].keys() >= MEASURES
    assert found["meta"].keys() >= META
    assert found["meta"]["steps"] == found["random_start"]["steps"] == 1
    best = found["random_start"]["best"]
    assert META | {"steps", "lr"} <= best.keys()
    assert best["lr"] in random_start.RATES
    assert 1 <= best["steps"] <= 8
    assert json.loads((tmp_path / "out" / "eval.json").read_text()) == found
    assert (tmp_path / "out" / "steps.png").read_bytes().startswith(b"\x89PNG")
    cache = json.loads((intents.folder / "baselines.json").read_text())
    (tuned,) = cache.values()
    assert set(tuned) == {*frozen.METHODS, "random_start"}
    # The settings come from the cache now, and the same episodes give the same numbers.
    again = json.loads(call(*arguments).stdout)
    for name in ("base", *frozen.METHODS, "meta"):
        assert {k: v for k, v in again[name].items() if k != "seconds_per_task"} == {
            k: v for k, v in found[name].items() if k != "seconds_per_task"
        }


def test_examples_in_context_are_measured_where_they_are_asked_for(
    intents: Run, curves_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, training, _ = baselines.tasks_of(intents)
    sizes: dict[str, Any] = {"episodes": 2, "tuning_episodes": 2, "methods": ("base", "in_context")}
    told = baselines.compare(intents, tasks, training, **sizes).results
    assert told["in_context"].keys() >= MEASURES and 0 <= told["in_context"]["accuracy"] <= 1
    assert told["in_context"]["loss"] != told["base"]["loss"]
    cache = json.loads((intents.folder / "baselines.json").read_text())
    (trial,) = (tuned["in_context"] for tuned in cache.values() if "in_context" in tuned)
    monkeypatch.setattr(InContext, "tune", lambda *_: pytest.fail("tuned again"))
    again = baselines.compare(intents, tasks, training, **sizes).results
    assert again["in_context"] == told["in_context"]
    wanted = InContext(intents.composed).measure(evaluate.episodes(tasks, 2, 0), Trial(*trial))
    assert told["in_context"]["loss"] == pytest.approx(wanted["loss"].mean())
    assert "in_context" not in baselines.USUAL
    with pytest.raises(MelpaError, match="in_context is not possible here: there is no language model; name others"):
        baselines.compare(curves_run, *baselines.tasks_of(curves_run)[:2], **sizes)


def test_no_steps_measure_the_start_itself(intents: Run) -> None:
    tasks, training, _ = baselines.tasks_of(intents)
    told = baselines.compare(intents, tasks, training, episodes=4, steps=0, methods=("base", "meta")).results
    assert list(told) == ["base", "meta", "notes"]
    curves, _ = evaluate.curves(intents.composed.parts, intents.theta, evaluate.episodes(tasks, 4, 0), 0)
    assert told["meta"]["accuracy"] == pytest.approx(curves["accuracy"][0].mean())


def test_sizes_given_change_the_episodes_and_those_that_tune(intents: Run, tmp_path: Path) -> None:
    data = labelled(tmp_path / "test.jsonl", ["play"])
    tasks, training, notes = baselines.tasks_of(intents, data, ways=2, shots=2, queries=1)
    for one in (tasks.episode(np.random.default_rng(0)), training.episode(np.random.default_rng(0))):
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
        baselines.tasks_of(intents, plain)
    tasks, _, _ = baselines.tasks_of(intents, plain, group="", ways=2)
    assert len(tasks.episode(np.random.default_rng(0)).labels) == 2


def test_eval_refuses_what_it_cannot_judge(intents: Run, tmp_path: Path) -> None:
    seen = labelled(tmp_path / "seen.jsonl", ["pets"])
    with pytest.raises(DataError, match=r"training saw every task of .*seen\.jsonl: nothing is left to judge on"):
        baselines.tasks_of(intents, seen)
    result = call(intents.folder, "--methods", "base,magic")
    assert result.exit_code == 1
    assert "'magic' is no method; choose from base, prototypes" in result.stderr
    result = call(tmp_path / "nothing")
    assert result.exit_code == 1
    assert "no run in" in result.stderr
    assert "Traceback" not in result.output


def test_eval_refuses_to_write_where_labels_answer(intents: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "check_packages", lambda: None)
    result = call(intents.folder, "--generate", 1)
    assert result.exit_code == 1 and "this run writes no text; leave it out" in result.stderr


def test_eval_prints_a_line_a_method_and_who_was_harmed(intents: Run) -> None:
    result = call(intents.folder, "--episodes", 2, "--methods", "base,meta", "--steps", 1)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["accuracy", "f1", "ci95"]
    assert [line.split()[0] for line in lines[2:4]] == ["base", "meta-learned"]
    assert "of tasks worse than the base; the worst 5% of tasks average" in lines[-1]


def test_people_s_text_is_measured_in_bits_per_byte(shared: Path, tmp_path: Path) -> None:
    lines = [
        {"user": user, "text": f"{user} saw {n} birds"}
        for user in ("Ann", "Ben", "Cid", "Dora", "Eve")
        for n in range(6)
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tasks = f"{{kind: jsonl, train: {tmp_path}/lines.jsonl, shots: 2, queries: 2, hold_out: [Eve], validation: [Dora]}}"
    head = HEAD.format(model=shared / "models" / "stories260k")
    run = made(tmp_path, f"{head}tasks: {tasks}\nreadout: completion\n")
    tasks_, training, _ = baselines.tasks_of(run)
    told = baselines.compare(run, tasks_, training, episodes=3, methods=("base", "prototypes", "meta")).results
    assert list(told) == ["base", "meta", "notes"]
    assert {"bits_per_byte", "perplexity", "loss", "ci95"} <= told["base"].keys()
    assert told["meta"]["bits_per_byte"] < told["base"]["bits_per_byte"]  # one person's lines are much alike


def test_the_random_start_is_tuned_and_meta_learning_beats_it_on_the_sinusoid(curves_run: Run) -> None:
    tasks, training, _ = baselines.tasks_of(curves_run)
    found = baselines.compare(curves_run, tasks, training, episodes=100, steps=5, curves=True)
    assert list(found.results) == ["base", "random_start", "meta", "notes"]
    start = found.results["random_start"]
    assert start["best"]["loss"] < start["loss"] < found.results["base"]["loss"]
    assert start["best"]["steps"] >= 30
    assert found.results["meta"]["loss"] < start["loss"]
    steps, values = found.curves["random start"]
    assert steps[0] == 0
    assert values[0] == pytest.approx(found.results["base"]["loss"], rel=1e-5)
    assert values[-1] == pytest.approx(start["best"]["loss"], rel=1e-5)


def test_tuning_agrees_with_trying_everything(curves_run: Run) -> None:
    composed = curves_run.composed
    drawn = evaluate.episodes(baselines.tasks_of(curves_run)[1], 30, 5)
    fixed, best = random_start.tune(composed, drawn, 3, 0, "loss", advance=lambda *_: None)
    theta = composed.baseline(1e-3).begin(0)
    at = random_start.marks(3, 100)
    every = {}
    for lr in random_start.RATES:
        curves, _ = evaluate.curves(composed.baseline(lr).parts, theta, drawn, 100, at=at, tasks_per_pass=30)
        every |= {(lr, k): float(values.mean()) for k, values in zip(at, curves["loss"], strict=True)}
    assert fixed == (min(random_start.RATES, key=lambda lr: every[lr, 3]), 3)
    assert every[best] <= 1.05 * min(every.values())


def test_a_walk_stopped_at_marks_ends_where_an_unbroken_one_does(curves_run: Run) -> None:
    composed = curves_run.composed.baseline(1e-3)
    drawn = evaluate.episodes(baselines.tasks_of(curves_run)[1], 4, 5)
    theta = composed.begin(0)
    found = random_start.walk(composed, theta, random_start.prepared(composed, drawn, 3), [1, 5, 20])
    whole, _ = evaluate.curves(composed.parts, theta, drawn, 20, at=[1, 5, 20], tasks_per_pass=3)
    np.testing.assert_allclose([means["loss"] for means in found], whole["loss"].mean(1), rtol=1e-5)


def test_a_race_drops_the_hopeless_and_keeps_two_to_the_end(curves_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def scripted(composed: Any, theta: Any, batches: Any, at: Sequence[int]) -> Any:
        lr = composed.parts.rule.lr
        for k in at:
            falls = {
                3e-4: 5 - 0.01 * k,
                1e-3: 4 - 0.02 * k,
                3e-3: 3 - 0.02 * k,
                1e-2: 2.0 + 0.1 * k,
                3e-2: float("nan"),
            }
            yield {"loss": falls[lr]}

    monkeypatch.setattr(random_start, "walk", scripted)
    at = random_start.marks(3, 100)
    found = random_start.race(curves_run.composed, {}, [], at, 3, "loss", lambda *_: None)
    # Past its best after one step, 1e-2 ends at 20, and what never was a number with it; two of three go on from 50.
    assert {lr: max(curve) for lr, curve in found.items()} == {3e-4: 50, 1e-3: 100, 3e-3: 100, 1e-2: 20, 3e-2: 20}
    kept = random_start.race(curves_run.composed, {}, [], at, 75, "loss", lambda *_: None)
    assert min(max(curve) for curve in kept.values()) == 75
    assert random_start.order(found, "loss") == [3e-3, 1e-3, 1e-2, 3e-4, 3e-2]
    assert random_start.order(found, "loss", 1)[:2] == [1e-2, 3e-3]


def test_a_plot_is_written(tmp_path: Path) -> None:
    path = plot_curves(tmp_path / "a.png", {"meta": ([0, 1, 5], [0.5, 0.8, 0.9])}, lines={"prototypes": 0.7})
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MelpaError, match=r"pip install 'mlx-melpa\[plots\]'"):
        plot_curves(tmp_path / "a.png", {"a": ([0], [1.0])})
