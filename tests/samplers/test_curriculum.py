"""The curriculum goes from easy to hard; difficulty against hand computations; resume is bit-identical."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.samplers.curriculum import curriculum
from mlx_melpa.samplers.uniform import uniform
from mlx_melpa.training.difficulty import difficulty
from mlx_melpa.training.meta_train import meta_train
from mlx_melpa.training.outer_loop import OuterLoop

SINUSOID = """
problem: {kind: regression, hidden: [10]}
tasks: {kind: sinusoid, shots: 5, queries: 5}
sampler: {kind: curriculum, pool: 3}
rule: meta_sgd
learner: {kind: maml, steps: 1}
train: {iterations: 400, tasks_per_step: 2, checkpoint_every: 7, validate_every: 100, validation_episodes: 2, seed: 3}
"""
LANGUAGE = """
model: %s
adapter: {kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 1}
tasks: {kind: synthetic, variant: %s, ways: 3, shots: 2, queries: 2}
sampler: curriculum
readout: %s
learner: {kind: fomaml, steps: 1}
train: {iterations: 6, tasks_per_step: 2, checkpoint_every: 2, validate_every: 6, validation_episodes: 2}
"""
PROGRAM = """
import sys
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.training.meta_train import meta_train
for event in meta_train(load_recipe(sys.argv[1]), sys.argv[2], resume=sys.argv[3] == "resume"):
    print(event["event"], flush=True)
"""


class Planted:
    """Draws easy episodes (0.x) and hard ones (1.x) with equal chances."""

    size = None

    def episode(self, rng: np.random.Generator) -> float:
        return float(rng.integers(2) + rng.random() / 2)


def score(episodes: Any, by: str) -> np.ndarray:
    return np.array(episodes)


def test_early_draws_are_easy_late_ones_hard_and_the_band_covers_the_pool() -> None:
    sampler, steps, places = curriculum(pool=5), 41, set()
    for i in range(steps):
        p = i / (steps - 1)
        drawn = sampler.next(Planted(), 0, i, 4, score, p)
        candidates = np.sort(uniform().next(Planted(), 0, i, 20))
        first = round(16 * (1 - np.cos(np.pi * p)) / 2)
        assert drawn == candidates[first : first + 4].tolist()
        places |= set(range(first, first + 4))
        if i < 8:
            assert max(drawn) < 1
        if i >= steps - 8:
            assert min(drawn) >= 1
    assert places == set(range(20))


def test_draws_depend_on_seed_iteration_and_place_and_without_a_score_are_uniform() -> None:
    sampler = curriculum(pool=3)
    assert sampler.next(Planted(), 1, 2, 4, score, 0.5) == sampler.next(Planted(), 1, 2, 4, score, 0.5)
    assert sampler.next(Planted(), 1, 2, 4, score, 0.5) != sampler.next(Planted(), 1, 3, 4, score, 0.5)
    plain = uniform().next(Planted(), 1, 2, 4)
    assert sampler.next(Planted(), 1, 2, 4) == plain == curriculum(pool=1).next(Planted(), 1, 2, 4, score, 1.0)


def test_equals_stay_in_the_order_of_their_draws() -> None:
    def same(episodes: Any, by: str) -> np.ndarray:
        return np.zeros(len(episodes))

    drawn = curriculum(pool=2).next(Planted(), 0, 0, 3, same, 1.0)
    assert drawn == uniform().next(Planted(), 0, 0, 6)[3:]


def recipe_of(folder: Path, text: str) -> Any:
    (folder / "r.yaml").write_text(text)
    return load_recipe(folder / "r.yaml")


@pytest.mark.parametrize("readout", ["prototypes", "labels"])
def test_the_entropy_of_labels_is_that_of_their_probabilities(readout: str, shared: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, LANGUAGE % (shared / "models" / "stories260k", "people", readout))
    setup = compose(recipe)
    try:
        parts, theta = setup.parts, setup.begin(0)
        tasks = recipe.make("tasks").train
        one, two = (tasks.episode(np.random.default_rng(i)) for i in range(2))
        two = Episode(two.name, two.support[:4], two.query, two.labels)  # ragged: padding must not count
        found = difficulty(parts, theta, [one, two], "entropy")
        for episode, value in zip([one, two], found, strict=True):
            support = parts.problem.support([episode])
            rows = parts.initializer.make(theta, support, 1)
            p = parts.ops.numpy(parts.problem.predict(rows, support, theta["problem"])).astype(np.float64)[0]
            each = -(p * np.log(np.maximum(p, 1e-30))).sum(-1)
            assert 0 < value <= np.log(3) + 1e-6
            assert value == pytest.approx(each.mean(), rel=1e-4)
            loss = difficulty(parts, theta, [episode], "loss")
            np.testing.assert_allclose(
                loss, parts.ops.numpy(parts.problem.losses(rows, support, theta["problem"])), rtol=1e-6
            )
    finally:
        setup.model.detach()


def test_the_entropy_of_writing_is_that_of_the_next_token_at_supervised_places(shared: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, LANGUAGE % (shared / "models" / "stories260k", "style", "completion"))
    setup = compose(recipe)
    try:
        parts, theta, ops = setup.parts, setup.begin(0), setup.parts.ops
        examples = (
            Example("once upon", target="a time"),
            Example("the", target="dog ran and ran"),
            Example("a", "cat"),
        )
        episodes = [Episode("a", examples, ()), Episode("b", examples[:1], ())]
        found = difficulty(parts, theta, episodes, "entropy")
        row = parts.initializer.make(theta, {}, 1)
        for episode, value in zip(episodes, found, strict=True):
            each: list[float] = []
            for example in episode.support:
                tokens, ((start, end),) = setup.readout.tokens(example)
                at = ops.array(np.arange(start - 1, end - 1))
                z = ops.numpy(setup.model.logits(row, ops.array([tokens[:-1]]), at)).astype(np.float64)
                p = np.exp(z - z.max(-1, keepdims=True))
                p /= p.sum(-1, keepdims=True)
                each += (-(p * np.log(p)).sum(-1)).tolist()
            assert value == pytest.approx(np.mean(each), rel=1e-4)
    finally:
        setup.model.detach()


def test_numbers_have_no_entropy_and_a_stream_is_as_hard_as_its_tasks(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, SINUSOID)
    setup = compose(recipe)
    theta, tasks = setup.begin(0), recipe.make("tasks").train
    drawn = [tasks.episode(np.random.default_rng(i)) for i in range(4)]
    loss = difficulty(setup.parts, theta, drawn, "loss")
    np.testing.assert_array_equal(difficulty(setup.parts, theta, drawn, "entropy"), loss)
    streams = difficulty(setup.parts, theta, [(drawn[0], drawn[1]), (drawn[2], drawn[3])], "loss")
    np.testing.assert_allclose(streams, loss.reshape(2, 2).mean(1))


def test_training_takes_easy_episodes_first_and_hard_ones_last(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, SINUSOID)
    loop = OuterLoop(recipe, compose(recipe), recipe.make("tasks"))
    seen: dict[float, tuple[float, float]] = {}
    for iteration in (0, 399):
        pool = uniform().next(loop.tasks.train, 3, iteration, 6)
        drawn = loop.draw(iteration)
        seen[loop.progress(iteration)] = max(loop.score(drawn, "loss")), max(loop.score(pool, "loss"))
    assert list(seen) == [0, 1]
    assert seen[0][0] < seen[0][1] and seen[1][0] == pytest.approx(seen[1][1])


def whole(recipe: Path, out: Path, lines: int | None = None) -> bytes:
    """Trains to the end, or is killed once it has printed some lines."""
    how = "resume" if (out / "run.json").is_file() else "begin"
    command = [sys.executable, "-c", PROGRAM, str(recipe), str(out), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if lines is not None:
        for _ in range(lines):
            assert process.stdout.readline()
        sleep(random.random() * 0.01)
        process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (0 if lines is None else -signal.SIGKILL), errors
    return b"" if lines else (out / "theta.safetensors").read_bytes()


def test_kills_leave_no_trace_in_a_curriculum(tmp_path: Path) -> None:
    recipe_of(tmp_path, SINUSOID)
    wanted = whole(tmp_path / "r.yaml", tmp_path / "whole")
    for lines in (5, 24, 60):  # the first before there is a checkpoint
        whole(tmp_path / "r.yaml", tmp_path / "killed", lines)
    left = json.loads((tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()[-1])["iteration"]
    assert 0 < left < 400
    assert whole(tmp_path / "r.yaml", tmp_path / "killed") == wanted


def test_a_language_run_that_stopped_ends_as_one_that_did_not(shared: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path, LANGUAGE % (shared / "models" / "stories260k", "people", "{kind: prototypes, metric_episodes: 2}")
    )
    list(meta_train(recipe, tmp_path / "whole"))
    for event in meta_train(recipe, tmp_path / "stopped"):
        if event["iteration"] == 3:  # beyond the checkpoint of the second
            break
    list(meta_train(recipe, tmp_path / "stopped", resume=True))
    ends = [(tmp_path / name / "theta.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert ends[0] == ends[1]
