"""The summary of all streams over orders and seeds, and its plots."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from ...core.types import Json
from ...evaluation.plots import plot_matrix, plot_over
from . import metrics
from .methods import KINDS
from .settings import Job
from .stream import StreamResult

COSTS = ("seconds", "nbytes", "parameters", "stored", "steps")


def summed(identity: Json, results: Mapping[Job, StreamResult], sign: int = 1) -> Json:
    """Per method and start the measures of `metrics`, each a mean with half the width of its 95% interval, and costs.

    General ability is [before, after]. sign: -1 where less of what R holds is better. The class-incremental scenario
    has no comparison with single tasks, as `single_task` chooses among a task's own labels.
    """
    compare = identity.get("scenario") != "class-incremental"
    methods: Json = {}
    for name, jobs in grouped(results).items():
        seeds = [list(same) for _, same in groupby(jobs, key=lambda job: job.seed)]
        runs = [[numbers(results, job, sign, compare) for job in orders] for orders in seeds]
        costs = {cost: float(np.mean([vars(results[job])[cost] for job in jobs])) for cost in COSTS}
        costs |= {cost: int(costs[cost]) for cost in COSTS[1:]}
        methods[name] = {
            "method": jobs[0].method,
            "start": jobs[0].start,
            "runs": len(jobs),
            **metrics.summary(runs),
            **costs,
            "flops": mean([results[job].flops for job in jobs]),
            "general": [mean([results[job].general[i] for job in jobs]) for i in (0, 1)],
            "lr": results[jobs[0]].lr,
            "strength": results[jobs[0]].strength,
            "r": matrix(results, name),
        }
    return {**identity, "methods": methods}


def grouped(results: Mapping[Job, StreamResult]) -> dict[str, list[Job]]:
    """The jobs of each method and start: "replay", or "replay from NAME" from a run."""
    groups: dict[str, list[Job]] = {}
    for job in sorted(results, key=lambda j: (list(KINDS).index(j.method), j.start != "random", j.seed, j.order)):
        groups.setdefault(job.method + ("" if job.start == "random" else f" from {job.start}"), []).append(job)
    return groups


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if one of the values is unknown."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def numbers(results: Mapping[Job, StreamResult], job: Job, sign: int = 1, compare: bool = True) -> dict[str, float]:
    """The measures of one stream; with `compare` also against single tasks from the same start and seed."""
    result = results[job]
    alone = results.get(job._replace(method="single_task", order=0)) if compare else None
    single = None
    if alone is not None:
        by_name = dict(zip(alone.tasks, np.diag(alone.matrix), strict=True))
        single = np.array([by_name[name] for name in result.tasks])
    return metrics.measures(result.matrix, np.array(result.untrained, np.float64), single, sign=sign)


def matrix(results: Mapping[Job, StreamResult], name: str) -> list[list[float | None]]:
    """R by a task's place in the order, the mean over streams."""
    mean = np.mean([results[job].matrix for job in grouped(results)[name]], axis=0)
    return [[None if np.isnan(value) else float(value) for value in row] for row in mean]


def draw(folder: Path, results: Mapping[Job, StreamResult], measure: str = "accuracy") -> None:
    """Draws per method a heat map of R and a curve of each task, and for all methods the mean over tasks so far."""
    so_far, y = {}, measure.replace("_", " ")
    for name in grouped(results):
        r = np.array(matrix(results, name), np.float64)
        if np.isnan(np.diag(r)).any():
            continue
        label = name.replace(" ", "-")
        plot_matrix(folder / f"r-{label}.png", r, title=name, measure=measure)
        tasks = {f"task {j + 1}": (range(j + 1, len(r) + 1), r[j:, j].tolist()) for j in range(len(r))}
        plot_over(folder / f"tasks-{label}.png", tasks, x="tasks learned", y=y)
        so_far[name] = (range(1, len(r) + 1), [float(r[i, : i + 1].mean()) for i in range(len(r))])
    if so_far:
        plot_over(folder / "so-far.png", so_far, x="tasks learned", y=f"{y} on the tasks so far")
