"""Tunes the learning rate and the number of steps of Adam by successive halving (Jamieson and Talwalkar 2016).

All rates run side by side on the first validation episodes, measured after a few numbers of steps only: a measurement
costs as much as a step. A rate ends when several measurements in a row were no better than its best; after some
numbers of steps only the best rates go on (see `Schedule`). The best two rates for the given number of steps, and the
best two for any, then run on all validation episodes, to two measurements past their best.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

import numpy as np

from ...config.build import Setup
from ...core import inner_loop
from ...core.progress import Advance, silent
from ...core.types import Tree
from ..curves import HIGHER, TaskBatch

Curve = dict[int, float]
"""The mean of the main measure by number of steps."""


class AdamSettings(NamedTuple):
    """A learning rate and a number of steps of Adam."""

    lr: float
    steps: int


@dataclass(frozen=True)
class Schedule:
    """The rates that are tried, the steps at which they are measured, and the rules that drop a rate."""

    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
    steps: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100)
    """Numbers of steps after which rates are measured."""
    screened: int = 12
    """Validation episodes on which all rates run."""
    patience: int = 3
    """Measurements without a gain after which a rate ends, from `patient_until` steps on: slow rates gain late."""
    patient_until: int = 20
    survivors: Mapping[int, int] = field(default_factory=lambda: {30: 3, 50: 2})
    """Rates that go on after a number of steps."""

    def eval_steps(self, steps: int, most: int) -> list[int]:
        """The usual numbers of steps up to `most`, and `steps` unless it is 0."""
        return sorted({k for k in self.steps if k <= most} | ({steps} if steps else set()))


SCHEDULE = Schedule()
FIRST_RATE = SCHEDULE.rates[0]
"""A rate for a random start of which no step is taken."""


@dataclass(frozen=True)
class Search:
    """Tunes Adam for a setup from the start `theta`, on batches of validation episodes."""

    setup: Setup
    theta: Tree
    batches: Sequence[TaskBatch]
    main: str
    """The measure that decides."""
    schedule: Schedule = SCHEDULE
    advance: Advance = silent
    """Called once a rate was measured."""

    def tune(self, steps: int) -> tuple[AdamSettings, AdamSettings]:
        """The best rate for `steps` steps, and the best rate and number of steps; 0 steps ask for the second alone."""
        eval_steps = self.schedule.eval_steps(steps, max(self.schedule.steps))
        screened = self.screen(eval_steps, must=steps)
        last: dict[float, int] = dict.fromkeys(ranked(screened, self.main, steps)[:2], steps) if steps else {}
        for lr in ranked(screened, self.main)[:2]:
            best = best_steps(screened[lr], self.main)
            last[lr] = max(last.get(lr, 0), best, *[k for k in eval_steps if k > best][:2])
        curves: dict[float, Curve] = {lr: {} for lr in last}
        for lr, end in last.items():
            upto = [k for k in eval_steps if k <= end]
            for k, value in zip(upto, self.measures_along(lr, self.batches, upto), strict=True):
                curves[lr][k] = value
                self.advance(1, f"rate {lr:g}, {k} steps")
        best_lr = ranked(curves, self.main)[0]
        same_steps = AdamSettings(ranked(curves, self.main, steps)[0] if steps else best_lr, steps)
        return same_steps, AdamSettings(best_lr, best_steps(curves[best_lr], self.main))

    def screen(self, eval_steps: Sequence[int], must: int) -> dict[float, Curve]:
        """Runs all rates side by side and drops the worst on the way, none before `must` steps."""
        schedule, batches = self.schedule, self._first(self.schedule.screened)
        runs = {lr: self.measures_along(lr, batches, eval_steps) for lr in schedule.rates}
        curves: dict[float, Curve] = {lr: {} for lr in schedule.rates}
        alive = list(schedule.rates)
        for k in eval_steps:
            for lr in alive:
                curves[lr][k] = next(runs[lr])
                self.advance(1, f"rate {lr:g}, {k} steps")
            if k < must:
                continue
            if k >= schedule.patient_until:
                alive = [lr for lr in alive if since_best(curves[lr], self.main) < schedule.patience]
            if k in schedule.survivors:
                alive = [lr for lr in ranked(curves, self.main) if lr in alive][: schedule.survivors[k]]
        return curves

    def measures_along(self, lr: float, batches: Sequence[TaskBatch], eval_steps: Sequence[int]) -> Iterator[float]:
        """Adapts all batches side by side; gives the mean of the main measure after each number of steps."""
        parts = self.setup.random_start(lr).parts
        states = [inner_loop.begin(parts, self.theta, batch.encoded[0]) for batch in batches]
        for before, now in pairwise([0, *eval_steps]):
            values = []
            for i, batch in enumerate(batches):
                support, query = batch.encoded
                # Adam keeps its count of steps in its state, so that it goes on as if it had never stopped.
                states[i] = inner_loop.adapt(parts, self.theta, support, now - before, states[i])
                values.append(parts.problem.measure(states[i]["rows"], query, self.theta["problem"])[self.main])
            yield float(np.concatenate(values).mean())

    def _first(self, count: int) -> Sequence[TaskBatch]:
        """The first batches, with `count` episodes or a few more."""
        return self.batches[: -(-count // len(self.batches[0].episodes))]


def best_steps(curve: Curve, main: str) -> int:
    """The number of steps at which a curve is best; the fewest of equals."""
    return max(curve, key=lambda k: _worth(curve[k], main))


def since_best(curve: Curve, main: str) -> int:
    """The number of measurements since the best one."""
    return len(curve) - 1 - list(curve).index(best_steps(curve, main))


def ranked(curves: Mapping[float, Curve], main: str, steps: int | None = None) -> list[float]:
    """Rates from best to worst after `steps`, or each at its best; those not measured there are left out."""
    at = {
        lr: best_steps(c, main) if steps is None else steps for lr, c in curves.items() if steps is None or steps in c
    }
    return sorted(at, key=lambda lr: _worth(curves[lr][at[lr]], main), reverse=True)


def _worth(value: float, main: str) -> float:
    """Higher is better; NaN is worst."""
    return (value if main in HIGHER else -value) if isfinite(value) else -float("inf")
