"""Tuning: as many trials for every method, and the best of them."""

from types import SimpleNamespace
from typing import Any

import pytest

from mlx_melpa.benchmarks.continual.methods import KINDS
from mlx_melpa.benchmarks.continual.settings import Trial
from mlx_melpa.benchmarks.continual.tuning import best, count, first


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rates", [(1e-3,), (1e-3, 3e-3), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)])
def test_every_method_takes_as_many_trials(name: str, rates: tuple[float, ...]) -> None:
    settings: Any = SimpleNamespace(rates=rates)
    tried: set[Trial] = set()

    def worth(_: str, trial: Trial) -> float:
        tried.add(trial)
        return -abs(trial.lr - 1e-3) + (trial.strength or 0) * 1e-6

    found = best(settings, name, worth)
    assert len(tried) == count(settings, name) == (0 if name == "frozen" or len(rates) == 1 else len(rates))
    assert found == (max(tried, key=lambda trial: worth(name, trial)) if tried else first(settings, name))
