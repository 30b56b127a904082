"""What a recipe will cost, said before it begins."""

import json
from pathlib import Path

import mlx.core as mx
import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.training.estimate import estimate
from mlx_melpa.training.outer_loop import OuterLoop

SMALL = ["train.validation_episodes=2", "train.tasks_per_step=2", "readout.metric_episodes=4"]


def test_an_estimate_counts_iterations_validations_and_metric_episodes_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = estimate(load_recipe("quickstart", [*SMALL, "train.iterations=10", "train.validate_every=4"]))
    told = 10 * found.iteration + 3 * 2 * found.validation + 4 * found.metric_episode
    assert found.seconds == pytest.approx(told) and min(found.iteration, found.validation, found.metric_episode) > 0
    assert found.memory > 20_000_000 and found.tasks_per_pass == 2
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_a_recipe_would_cost() -> None:
    done = CliRunner().invoke(app, ["meta-train", "sinusoid-maml", "--estimate", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["iterations"] == 60000
    assert "minutes in all" in CliRunner().invoke(app, ["meta-train", "sinusoid-maml", "--estimate"]).stdout


def test_a_run_needs_a_folder() -> None:
    done = CliRunner().invoke(app, ["meta-train", "sinusoid-maml"])
    assert done.exit_code == 1 and "Give --out DIR" in done.stderr


def test_hundreds_of_different_lengths_hold_their_memory() -> None:
    recipe = load_recipe("quickstart", SMALL)
    setup = compose(recipe)
    try:
        loop = OuterLoop(recipe, setup, recipe.make("tasks"))
        limit = 64 << 20
        loop.ops.limit_cache(limit)
        rows = mx.zeros((1, setup.model.layout.size))
        held = []
        for length in range(1, 241):
            mx.eval(setup.model.hidden(rows, mx.ones((1, length), mx.int32)))
            if length % 60 == 0:
                held.append(mx.get_active_memory() + mx.get_cache_memory())
    finally:
        setup.model.detach()
    assert mx.get_cache_memory() <= limit
    assert held[-1] <= held[0] + limit
