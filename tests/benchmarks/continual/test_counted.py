"""What is asked of a problem is counted: a loss both ways, since its gradient is taken, class means forward alone."""

from typing import Any

from mlx_melpa.benchmarks.continual.counted import counted
from mlx_melpa.config.build import Composition
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.evaluation.flops import Work, names, products


def test_a_loss_counts_both_ways_and_class_means_one(composed: Composition) -> None:
    composed = counted(composed)
    problem: Any = composed.parts.problem
    texts = tuple(Example(f"number {i}", label="ab"[i % 2]) for i in range(4))
    support = problem.support([Episode("", texts, (), ("a", "b"))])
    made = []
    for part in support["parts"]:
        read = part["index"].shape[0] if "index" in part else 0
        work = Work(*part["tokens"].shape, read, composed.model.adapter, names(composed.model.sites))
        made += products(composed.base.config, work)
    forward = sum(product.flops for product in made if not product.name.endswith("back"))
    whole = sum(product.flops for product in made)
    assert 0 < forward < whole
    problem.losses(composed.unchanged(), support)
    assert problem.flops == whole
    problem.memory(composed.unchanged(), support)
    assert problem.flops == whole + forward
