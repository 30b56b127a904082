"""The search for a random start's rate and steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mlx_melpa.evaluation import curves
from mlx_melpa.evaluation.baselines.successive_halving import SCHEDULE, Schedule, Search, ranked
from mlx_melpa.evaluation.unseen_tasks import tasks_of
from mlx_melpa.store.run import Run


def searched(run: Run, drawn: Sequence[Any], schedule: Schedule = SCHEDULE, per_batch: int = 4) -> Search:
    """A search from a random start of the run's network."""
    theta = run.setup.random_start(1e-3).begin(0)
    batches = list(curves.task_batches(run.setup.parts.problem, drawn, per_batch))
    return Search(run.setup, theta, batches, "loss", schedule)


def test_tuning_agrees_with_trying_everything(curves_run: Run) -> None:
    drawn = curves.episodes(tasks_of(curves_run).splits.train, 30, 5)
    search = searched(curves_run, drawn)
    same, best = search.tune(3)
    at = SCHEDULE.eval_steps(3, 100)
    every = {}
    for lr in SCHEDULE.rates:
        parts = curves_run.setup.random_start(lr).parts
        found = curves.curves(parts, search.theta, drawn, at, tasks_per_pass=30)
        every |= {(lr, k): value for k, value in zip(at, found.means("loss"), strict=True)}
    assert same == (min(SCHEDULE.rates, key=lambda lr: every[lr, 3]), 3)
    assert every[best] <= 1.05 * min(every.values())


def test_measuring_on_the_way_changes_no_step(curves_run: Run) -> None:
    drawn = curves.episodes(tasks_of(curves_run).splits.train, 4, 5)
    search = searched(curves_run, drawn, per_batch=3)
    found = list(search.measures_along(1e-3, search.batches, [1, 5, 20]))
    parts = curves_run.setup.random_start(1e-3).parts
    whole = curves.curves(parts, search.theta, drawn, [1, 5, 20], tasks_per_pass=3)
    np.testing.assert_allclose(found, whole.means("loss"), rtol=1e-5)


def test_screening_drops_the_worst_and_keeps_two_to_the_end(curves_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def scripted(self: Search, lr: float, batches: Any, eval_steps: Sequence[int]) -> Any:
        for k in eval_steps:
            falls = {
                3e-4: 5 - 0.01 * k,
                1e-3: 4 - 0.02 * k,
                3e-3: 3 - 0.02 * k,
                1e-2: 2.0 + 0.1 * k,
                3e-2: float("nan"),
            }
            yield falls[lr]

    monkeypatch.setattr(Search, "measures_along", scripted)
    search = searched(curves_run, curves.episodes(tasks_of(curves_run).splits.train, 4, 5))
    at = SCHEDULE.eval_steps(3, 100)
    found = search.screen(at, must=3)
    # Past its best after one step, 1e-2 ends at 20, and what never was a number with it; two of three go on from 50.
    assert {lr: max(curve) for lr, curve in found.items()} == {3e-4: 50, 1e-3: 100, 3e-3: 100, 1e-2: 20, 3e-2: 20}
    assert min(max(curve) for curve in search.screen(at, must=75).values()) == 75
    assert ranked(found, "loss") == [3e-3, 1e-3, 1e-2, 3e-4, 3e-2]
    assert ranked(found, "loss", 1)[:2] == [1e-2, 3e-3]
