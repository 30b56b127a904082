"""Baselines: what they compute, how they are tuned, and what `melpa eval` prints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from melpa_cli.main import app
from toys.runs import HEAD, labelled, made
from typer.testing import CliRunner

from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError, MelpaError
from mlx_melpa.evaluation import curves, methods
from mlx_melpa.evaluation import text_overlap as overlap
from mlx_melpa.evaluation.baselines import frozen_features as frozen
from mlx_melpa.evaluation.baselines.in_context import InContext, InContextSettings
from mlx_melpa.evaluation.baselines.successive_halving import SCHEDULE, Schedule
from mlx_melpa.evaluation.compare import compare
from mlx_melpa.evaluation.settings import USUAL, CompareSettings
from mlx_melpa.evaluation.unseen_tasks import TaskFiles, tasks_of
from mlx_melpa.store.run import Run

MEASURES = {"accuracy", "f1", "ci95", "loss"}
META = MEASURES | {"seconds_per_task", "worse_than_base", "worst_5_percent"}


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_frozen_features_are_means_of_the_base_s_last_and_first_states(intents: Run) -> None:
    setup = intents.setup
    ops, encoder = setup.parts.ops, setup.parts.problem.readout.encoder  # type: ignore[attr-defined]
    weights = setup.problem.identity_weights()
    texts = ("a dog", "I see a much longer story about a cat", "a cat")
    one = Episode("e", tuple(map(Example, texts[:2])), (Example(texts[2]),))
    found = frozen.features(setup, [one], {})
    for text in texts:
        tokens = ops.array([list(encoder.whole(text))])
        states = [setup.model.hidden(weights, tokens), setup.model.frozen_states(tokens)[0]]
        means = [ops.numpy(s)[0].mean(0) for s in states]
        wanted = np.concatenate([m / np.linalg.norm(m) for m in means])
        np.testing.assert_allclose(found[text], wanted, rtol=1e-4, atol=1e-4)


def test_eval_on_new_tasks_of_a_file(intents: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "SCHEDULE", Schedule(steps=(1, 2, 5, 8)))
    data = labelled(tmp_path / "test.jsonl", ["pets", "play"])
    arguments = (
        intents.folder,
        "--tasks",
        data,
        "--episodes",
        6,
        "--tuning-episodes",
        12,
        "--steps",
        1,
        "--json",
        "--out",
        tmp_path / "out",
    )
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == ["base", *frozen.CLASSIFIERS, "random_start", "meta", "notes"]
    assert found["notes"] == ["left out 1 tasks (12 examples) that training saw: 'pets'"]
    assert found["base"].keys() >= MEASURES
    assert found["logistic_regression"].keys() >= MEASURES
    assert found["meta"].keys() >= META
    assert found["meta"]["steps"] == found["random_start"]["steps"] == 1
    best = found["random_start"]["best"]
    assert META | {"steps", "lr"} <= best.keys()
    assert best["lr"] in SCHEDULE.rates
    assert 1 <= best["steps"] <= 8
    assert json.loads((tmp_path / "out" / "eval.json").read_text()) == found
    assert (tmp_path / "out" / "steps.png").read_bytes().startswith(b"\x89PNG")
    cache = json.loads((intents.folder / "baselines.json").read_text())
    (tuned,) = cache.values()
    assert set(tuned) == {*frozen.CLASSIFIERS, "random_start"}
    # The settings come from the cache now, and the same episodes give the same numbers.
    again = json.loads(call(*arguments).stdout)
    for name in ("base", *frozen.CLASSIFIERS, "meta"):
        assert {k: v for k, v in again[name].items() if k != "seconds_per_task"} == {
            k: v for k, v in found[name].items() if k != "seconds_per_task"
        }


def test_examples_in_context_are_measured_where_they_are_asked_for(
    intents: Run, curves_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(intents)
    settings = CompareSettings(episodes=2, tuning_episodes=2, methods=("base", "in_context"))
    told = compare(intents, tasks, settings).results
    assert told["in_context"].keys() >= MEASURES and 0 <= told["in_context"]["accuracy"] <= 1
    assert told["in_context"]["loss"] != told["base"]["loss"]
    cache = json.loads((intents.folder / "baselines.json").read_text())
    (tuned,) = (tuned["in_context"] for tuned in cache.values() if "in_context" in tuned)
    monkeypatch.setattr(InContext, "tune", lambda *_: pytest.fail("tuned again"))
    again = compare(intents, tasks, settings).results
    assert again["in_context"] == told["in_context"]
    chosen = InContextSettings(**tuned[methods.SAME])
    wanted = InContext(intents.setup).measure(curves.episodes(tasks.test, 2, 0), chosen)
    assert told["in_context"]["loss"] == pytest.approx(wanted["loss"].mean())
    assert "in_context" not in USUAL
    with pytest.raises(MelpaError, match="in_context is not possible here: there is no language model; name others"):
        compare(curves_run, tasks_of(curves_run), settings)


def test_no_steps_measure_the_start_itself(intents: Run) -> None:
    tasks = tasks_of(intents)
    told = compare(intents, tasks, CompareSettings(episodes=4, steps=0, methods=("base", "meta"))).results
    assert list(told) == ["base", "meta", "notes"]
    measured = curves.curves(intents.setup.parts, intents.theta, curves.episodes(tasks.test, 4, 0), [0])
    assert told["meta"]["accuracy"] == pytest.approx(measured.last["accuracy"].mean())


def test_eval_refuses_what_it_cannot_judge(intents: Run, tmp_path: Path) -> None:
    seen = labelled(tmp_path / "seen.jsonl", ["pets"])
    with pytest.raises(DataError, match=r"training saw every task of .*seen\.jsonl: nothing is left to judge on"):
        tasks_of(intents, TaskFiles(seen))
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
    settings = CompareSettings(episodes=3, methods=("base", "prototypes", "meta"))
    told = compare(run, tasks_of(run), settings).results
    assert list(told) == ["base", "meta", "notes"]
    assert {"bits_per_byte", "perplexity", "loss", "ci95"} <= told["base"].keys()
    assert told["meta"]["bits_per_byte"] < told["base"]["bits_per_byte"]  # one person's lines are much alike


def test_the_random_start_is_tuned_and_meta_learning_beats_it_on_the_sinusoid(curves_run: Run) -> None:
    counted: list[float] = []
    settings = CompareSettings(episodes=100, steps=5, curves=True)
    found = compare(curves_run, tasks_of(curves_run), settings, lambda count, text="": counted.append(count))
    assert sum(counted) == 100
    assert list(found.results) == ["base", "random_start", "meta", "notes"]
    start = found.results["random_start"]
    assert start["best"]["loss"] < start["loss"] < found.results["base"]["loss"]
    assert start["best"]["steps"] >= 30
    assert found.results["meta"]["loss"] < start["loss"]
    steps, values = found.curves["random start"]
    assert steps[:4] == [0, 1, 2, 3] and found.curves["meta-learned"][0] == [0, 1, 2, 3, 4, 5]
    assert values[0] == pytest.approx(found.results["base"]["loss"], rel=1e-5)
    assert values[-1] == pytest.approx(start["best"]["loss"], rel=1e-5)
