"""Continual methods on streams of tasks, side by side: `melpa bench continual`."""

from functools import partial

from ...core.progress import Advance, silent
from ...core.types import Json
from ..study import Study
from . import report
from .bench import Bench
from .methods import KINDS
from .settings import Job, Settings
from .stream import StreamResult


def continual(settings: Settings, advance: Advance = silent) -> Json:
    """Learns every stream that has no result yet, and summarizes all. Results go to `out` one by one.

    Methods with one adapter come first, then those that need a block of it per task.
    """
    study = Study(settings.out, settings.identity(), advance=advance)
    results: dict[Job, StreamResult] = {}
    for block_per_task in (False, True):
        bench = Bench(settings, study, block_per_task)
        try:
            for job in settings.jobs:
                if KINDS[job.method].block_per_task == block_per_task:
                    title = f"{job.method}, order {job.order}, seed {job.seed}"
                    results[job] = StreamResult(**study.get_or(job.key, partial(bench.learn, job), title))
        finally:
            bench.close()
    summary = report.summed({**settings.identity(), "chance": settings.chance}, results, settings.sign)
    study.report("continual", summary, draw=partial(report.draw, results=results, measure=settings.measure))
    return summary
