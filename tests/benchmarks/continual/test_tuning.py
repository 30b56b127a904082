"""Tuning: the same number of trials for every method, and the best of them."""

import pytest

from mlx_melpa.benchmarks.continual.methods import KINDS
from mlx_melpa.benchmarks.continual.tuning import Hyperparameters, trial_count, tune


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rates", [(1e-3,), (1e-3, 3e-3), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)])
def test_every_method_takes_as_many_trials(name: str, rates: tuple[float, ...]) -> None:
    method, tried = KINDS[name], set[Hyperparameters]()

    def score(trial: Hyperparameters) -> float:
        tried.add(trial)
        return -abs(trial.lr - 1e-3) + (trial.strength or 0) * 1e-6

    best = tune(method, rates, score)
    assert len(tried) == trial_count(method, rates) == (0 if name == "frozen" or len(rates) == 1 else len(rates))
    assert best == (max(tried, key=score) if tried else Hyperparameters(rates[0], method.strength))
