"""The task encoder: tasks without examples, curves, and a run that is resumed."""

from pathlib import Path

import numpy as np
from toys.parts import RULES, small

from mlx_melpa.backends.mlx import ops
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.initializers.hypernetwork import Hypernetwork
from mlx_melpa.initializers.task_encoder import TaskEncoder
from mlx_melpa.tasks.sinusoid import sinusoid
from mlx_melpa.training.meta_train import meta_train

HYPERNETWORK = dict(Hypernetwork.verify_with[0])
WIDTH = 7


def test_an_encoder_of_a_task_with_no_examples_gives_zeros() -> None:
    encoder = TaskEncoder(ops, WIDTH, 5)
    meta = {name: ops.ones(shape) for name, shape in encoder.shapes.items()}
    found = ops.numpy(encoder.embed(meta, ops.ones((1, 2, WIDTH)), ops.zeros((1, 2))))
    np.testing.assert_array_equal(found, np.zeros((1, 5)))


def test_a_curve_is_encoded_by_its_points() -> None:
    problem = small("sgd", RULES["sgd"], "none", {}, start=("hypernetwork", HYPERNETWORK))[0].problem
    episode = sinusoid(shots=4, queries=3).train.episode(np.random.default_rng(0))
    support, query = problem.prepare([episode])
    wanted = np.concatenate([episode.x_support, episode.y_support], 1)
    np.testing.assert_array_equal(ops.numpy(support["context"])[0], wanted)
    assert ops.numpy(support["present"]).tolist() == [[1.0] * 4] and "context" not in query


def test_a_run_that_stopped_goes_on_with_its_encoder(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "problem: {kind: regression, hidden: [10]}\ntasks: sinusoid\nlearner: {kind: maml, steps: 1}\n"
        "initializer: {kind: hypernetwork, form: whole, embedding: 8, hidden: 8}\n"
        "train: {iterations: 9, tasks_per_step: 2, checkpoint_every: 2, validation_episodes: 2}\n"
    )
    recipe = load_recipe(tmp_path / "r.yaml")
    list(meta_train(recipe, tmp_path / "whole"))
    for event in meta_train(recipe, tmp_path / "stopped"):
        if event["iteration"] == 5:
            break
    list(meta_train(recipe, tmp_path / "stopped", resume=True))
    ends = [(tmp_path / name / "theta.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert ends[0] == ends[1]
