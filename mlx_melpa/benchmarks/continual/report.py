"""What streams came to, summed up over orders and seeds, and its pictures."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.plots import plot_matrix, plot_over
from . import metrics
from .methods import KINDS
from .settings import Job
from .stream import Found

COSTS = ("seconds", "nbytes", "parameters", "stored", "steps")


def summed(identity: dict[str, Any], done: Mapping[Job, Found], sign: int = 1) -> dict[str, Any]:
    """Per method and start the numbers of `metrics`, each a mean with the half width of its 95% interval, and costs.

    General ability is [at the start, at the end]; `sign` is -1 where less of what R holds is better. Where all labels
    are candidates nothing stands beside single tasks: `separate` answers among a task's own.
    """
    beside = identity.get("protocol") != "all"
    methods: dict[str, Any] = {}
    for name, jobs in grouped(done).items():
        seeds = [list(same) for _, same in groupby(jobs, key=lambda job: job.seed)]
        runs = [[numbers(done, job, sign, beside) for job in orders] for orders in seeds]
        costs = {cost: float(np.mean([getattr(done[job], cost) for job in jobs])) for cost in COSTS}
        costs |= {cost: int(costs[cost]) for cost in COSTS[1:]}
        more: dict[str, Any] = {"flops": mean([done[job].flops for job in jobs])}
        more |= {"general": [mean([done[job].general[i] for job in jobs]) for i in (0, 1)]}
        entry = {
            "method": jobs[0].method,
            "start": jobs[0].start,
            "runs": len(jobs),
            **metrics.summary(runs),
            **costs,
            **more,
        }
        methods[name] = {**entry, "lr": done[jobs[0]].lr, "strength": done[jobs[0]].strength, "r": matrix(done, name)}
    return {**identity, "methods": methods}


def grouped(done: Mapping[Job, Found]) -> dict[str, list[Job]]:
    """The jobs of each method and start: "replay", or "replay from NAME" from a run."""
    found: dict[str, list[Job]] = {}
    for job in sorted(done, key=lambda j: (list(KINDS).index(j.method), j.start != "random", j.seed, j.order)):
        found.setdefault(job.method + ("" if job.start == "random" else f" from {job.start}"), []).append(job)
    return found


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is not known."""
    told = [value for value in values if value is not None]
    return float(np.mean(told)) if len(told) == len(values) else None


def numbers(done: Mapping[Job, Found], job: Job, sign: int = 1, beside: bool = True) -> dict[str, float]:
    """The numbers of one stream, with `beside` those beside single tasks, from the same start with the same seed."""
    found = done[job]
    alone = done.get(job._replace(method="separate", order=0)) if beside else None
    single = None
    if alone is not None:
        by_name = dict(zip(alone.tasks, np.diag(alone.matrix), strict=True))
        single = np.array([by_name[name] for name in found.tasks])
    return metrics.measures(found.matrix, np.array(found.untrained, np.float64), single, sign=sign)


def matrix(done: Mapping[Job, Found], name: str) -> list[list[float | None]]:
    """R by a task's place in the order, the mean over streams."""
    mean = np.mean([done[job].matrix for job in grouped(done)[name]], axis=0)
    return [[None if np.isnan(value) else float(value) for value in row] for row in mean]


def draw(folder: Path, done: Mapping[Job, Found], measure: str = "accuracy") -> None:
    """Writes a heat map of R and the curve of each task over time per method, and all methods' mean on tasks so far."""
    so_far, y = {}, measure.replace("_", " ")
    for name in grouped(done):
        r = np.array(matrix(done, name), np.float64)
        if np.isnan(np.diag(r)).any():
            continue
        label = name.replace(" ", "-")
        plot_matrix(folder / f"r-{label}.png", r, title=name, measure=measure)
        tasks = {f"task {j + 1}": (range(j + 1, len(r) + 1), r[j:, j].tolist()) for j in range(len(r))}
        plot_over(folder / f"tasks-{label}.png", tasks, x="tasks learned", y=y)
        so_far[name] = (range(1, len(r) + 1), [float(r[i, : i + 1].mean()) for i in range(len(r))])
    if so_far:
        plot_over(folder / "so-far.png", so_far, x="tasks learned", y=f"{y} on the tasks so far")
