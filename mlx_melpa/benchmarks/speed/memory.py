"""Memory of exact MAML over the number of steps, and its time; both compared with FOMAML."""

from ...core.progress import Advance
from ...core.types import Json
from .fixtures import upper_half
from .interleaved import Answer, Worker, interleave
from .meta_iteration import SHORT
from .settings import Settings, number

MAX_GROWTH, MAX_MEMORY_RATIO, MAX_TIME_RATIO = 1.2, 3.0, 3.0
FLOOR = 2.67
"""MAML's time over FOMAML's at 5 steps, if a gradient costs 2 passes and a step's second derivative 5 more."""


def measure(settings: Settings, advance: Advance) -> Json:
    """Peak memory in MB of MLX's allocator (`value`) and of the process (`resident`), each in a process of its own.

    The stored rows, 4 T P (2 K + 1) bytes, grow with K by design and are counted apart.
    """
    few, many = (2, 6) if settings.short else (5, 20)
    changes = {**(SHORT if settings.short else {}), "adapter.layers": upper_half(settings.model)}

    def worker(learner: str, steps: int) -> Worker:
        changed = {**changes, "learner.kind": learner, "learner.steps": steps}
        return Worker("meta_iteration", {"model": settings.model, "changes": changed})

    with worker("fomaml", few) as first, worker("maml", few) as exact:
        parameters, tasks = exact.ready["parameters"], exact.ready["tasks"]
        at = {"fomaml": first.ask(), "maml": exact.ask()}  # the first episodes of each worker: a peak depends on them
        ratio = interleave(exact, first, settings.repeats, rate=lambda a: float(a["seconds"]), advance=advance)
        weights = exact.ready["base_bytes"]
    with worker("maml", many) as deep:
        at["deep"] = deep.ask()
    advance(1, f"{many} steps")
    stored = {name: 4 * tasks * parameters * (2 * k + 1) for name, k in (("maml", few), ("deep", many))}
    without_rows = {name: at[name]["memory"] - rows for name, rows in stored.items()}
    growth = without_rows["deep"] / without_rows["maml"]
    return {
        "flat": number(growth, f"of {few} steps' peak", at_most=MAX_GROWTH, steps=many),
        "beside_fomaml": number(
            at["maml"]["memory"] / at["fomaml"]["memory"], "of FOMAML's peak", at_most=MAX_MEMORY_RATIO
        ),
        "time": number(
            ratio.ours / ratio.peer, "of FOMAML's time", at_most=MAX_TIME_RATIO, floor=FLOOR, pairs=ratio.pairs
        ),
        f"fomaml_{few}": _peak(at["fomaml"]),
        f"maml_{few}": _peak(at["maml"], stored["maml"]),
        f"maml_{many}": _peak(at["deep"], stored["deep"]),
        "base": number(weights / 1e6, "MB"),
    }


def _peak(answer: Answer, kept: int = 0) -> Json:
    rows = {"kept_rows": kept / 1e6} if kept else {}
    return number(answer["memory"] / 1e6, "MB", resident=answer["resident"] / 1e6, **rows)
