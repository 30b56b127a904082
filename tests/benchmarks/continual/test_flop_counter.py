"""Learning counts its passes: a step forward and backward, class means forward alone."""

import pytest

from mlx_melpa.benchmarks.continual.flop_counter import flop_counter
from mlx_melpa.benchmarks.continual.methods import KINDS
from mlx_melpa.benchmarks.continual.methods.method import Initialization, encode_task
from mlx_melpa.benchmarks.continual.tasks import Task
from mlx_melpa.config.build import Setup
from mlx_melpa.core.types import Example
from mlx_melpa.evaluation.flops import Work, names, products

STEPS = 2


@pytest.mark.parametrize("name", ["naive", "maml", "ewc"])
def test_passes_of_learning_are_counted(setup: Setup, name: str) -> None:
    texts = tuple(Example(f"number {i}", label="ab"[i % 2]) for i in range(4))
    baseline = setup.random_start(0.01)
    counter = flop_counter(baseline)
    method = KINDS[name](Initialization(baseline, baseline.begin(0), counter), steps=STEPS, seed=0, tasks=1)
    task = encode_task(setup.parts, Task("one", ("a", "b"), texts, texts))
    made = []
    for part in task.support["parts"]:
        read = part["index"].shape[0] if "index" in part else 0
        work = Work(*part["tokens"].shape, read, setup.model.adapter, names(setup.model.sites))
        made += products(setup.base.config, work)
    forward = sum(product.flops for product in made if not product.name.endswith("back"))
    both = sum(product.flops for product in made)
    assert counter is not None and 0 < forward < both
    state = method.learn(method.begin(), [task])
    passes = {"naive": STEPS, "maml": 2 * STEPS}
    if name in passes:
        assert counter.total == passes[name] * both + forward
    else:
        assert counter.total > STEPS * both + forward, "one gradient for each example"
    before = counter.total
    method.predict(state, task)
    assert counter.total == before, "only learning is counted"
