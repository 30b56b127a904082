"""Exact MAML's memory, flat in the number of steps, and its time, both beside FOMAML's"""

from typing import Any

from .fixtures import upper_half
from .interleaved import Answer, Worker, alternate
from .settings import Advance, Settings, number

FLAT, BESIDE, SLOWER = 1.2, 3.0, 3.0
FLOOR = 2.67
"""MAML's time over FOMAML's at 5 steps if each gradient costs 2 passes, and a second derivative's step 5 more."""


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Peaks in bytes, of MLX's allocator (`bytes`) and of the process (`resident`), each in a process of its own.

    What grows with K by design is the kept rows, 4 T P (2 K + 1) bytes, and is counted apart.
    """
    few, many = (2, 6) if settings.short else (5, 20)
    small = {"shots": 3, "tasks": 2} if settings.short else {}
    half = upper_half(settings.model)
    tasks = small.get("tasks", 4)

    def worker(learner: str, steps: int) -> Worker:
        given = {"model": settings.model, "learner": learner, "steps": steps, "layers": half, **small}
        return Worker("meta_iteration", given)

    with worker("fomaml", few) as first, worker("maml", few) as exact:
        parameters = exact.about["parameters"]
        at = {"fomaml": first.ask(), "maml": exact.ask()}  # every worker's first episodes: a peak depends on them
        ratio = alternate(exact, first, settings.pairs, rate=lambda a: float(a["seconds"]), advance=advance)
        weights = exact.about["base_bytes"]
    with worker("maml", many) as deep:
        at["deep"] = deep.ask()
    advance(1, f"{many} steps")
    kept = {name: 4 * tasks * parameters * (2 * k + 1) for name, k in (("maml", few), ("deep", many))}
    beside = {name: at[name]["memory"] - rows for name, rows in kept.items()}
    return {
        "flat": number(beside["deep"] / beside["maml"], f"of {few} steps' peak", at_most=FLAT, steps=many),
        "beside_fomaml": number(at["maml"]["memory"] / at["fomaml"]["memory"], "of FOMAML's peak", at_most=BESIDE),
        "time": number(ratio.ours / ratio.peer, "of FOMAML's time", at_most=SLOWER, floor=FLOOR, pairs=ratio.pairs),
        f"fomaml_{few}": _peak(at["fomaml"]),
        f"maml_{few}": _peak(at["maml"], kept["maml"]),
        f"maml_{many}": _peak(at["deep"], kept["deep"]),
        "base": number(weights / 1e6, "MB"),
    }


def _peak(answer: Answer, kept: int = 0) -> dict[str, Any]:
    rows = {"kept_rows": kept / 1e6} if kept else {}
    return number(answer["memory"] / 1e6, "MB", resident=answer["resident"] / 1e6, **rows)
