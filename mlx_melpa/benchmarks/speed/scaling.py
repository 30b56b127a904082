"""How time and memory grow: with tasks, steps, examples, length, the row, the base; and the store with its people"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from ...learners import KINDS as LEARNERS
from ...pocket.fit import Size
from .fixtures import batch, parts, random_llama, theta
from .settings import Advance, Settings, number
from .store import store

USUAL = {"tasks": 2, "steps": 2, "examples": 8, "length": 32, "rank": 8, "width": 128}
SWEPT: dict[str, tuple[int, ...]] = {
    "tasks": (1, 2, 4, 8, 16),
    "steps": (1, 2, 4, 8, 16),
    "examples": (2, 4, 8, 16, 32),
    "length": (16, 32, 64, 128, 256),
    "rank": (2, 4, 8, 16, 32, 64),
    "width": (64, 128, 256, 512),
}
"""`rank` stands for P, the row's numbers, and `width` for the base's weights: both are what is plotted."""
SHORT = 2
LAYERS = 4


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Exponents of time and of memory over one quantity each, fitted as log y = a + e log x; and the store's times.

    The work is an exact meta-gradient of a random llama of 4 blocks. Memory is the peak beyond base and inputs.
    """
    found: dict[str, Any] = {}
    for name, values in SWEPT.items():
        points = [_point({**USUAL, name: value}) for value in values[: SHORT if settings.short else None]]
        x = {"rank": "parameters", "width": "weights"}.get(name, name)
        at = [point[x] for point in points]
        found[name] = {
            "over": x,
            "at": at,
            "seconds": [point["seconds"] for point in points],
            "bytes": [point["bytes"] for point in points],
            "time": number(exponent(at, [point["seconds"] for point in points]), "exponent"),
            "memory": number(exponent(at, [point["bytes"] for point in points]), "exponent"),
        }
        advance(1, name)
    return {**found, "store": store((1, 20) if settings.short else (1, 1_000, 100_000), advance)}


def exponent(x: list[float], y: list[float]) -> float:
    """The slope of log y over log x, by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _point(at: dict[str, int]) -> dict[str, float]:
    wide = at["width"]
    size = Size(vocabulary=1024, width=wide, layers=LAYERS, heads=4, kv_heads=4, feed_forward=3 * wide, context=512)
    base = random_llama(size)
    made = parts(base, rank=at["rank"])
    ops, begun = made.ops, theta(made)
    support, query = (batch(made, at["tasks"], at["examples"], at["length"], seed=i) for i in range(2))
    learner: Any = LEARNERS["maml"](made, steps=at["steps"])
    best, peak = float("inf"), 0
    for _ in range(3):
        ops.evaluate(begun, support, query)
        ops.reset_peak_memory()
        before = ops.peak_memory()
        began = time.perf_counter()
        ops.evaluate(*learner.meta_grad(begun, support, query))
        best = min(best, time.perf_counter() - began)
        peak = ops.peak_memory() - before
    weights = base.parameters
    return {**at, "seconds": best, "bytes": peak, "parameters": made.problem.layout.size, "weights": weights}


def draw(found: dict[str, Any], folder: Path) -> None:
    """growth.png: a panel for each quantity, time and memory relative to the least, with their exponents."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    swept = [part for part in found.values() if "over" in part]
    figure = Figure(figsize=(10, 6), layout="constrained")
    for panel, part in zip(figure.subplots(2, (len(swept) + 1) // 2).flat, swept, strict=False):
        for label, values in (("time", part["seconds"]), ("memory", part["bytes"])):
            text = f"{label}, exponent {part[label]['value']:.2f}"
            panel.loglog(part["at"], np.array(values) / min(values), marker="o", markersize=3, label=text)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.set_xticks(part["at"])
        panel.minorticks_off()
        panel.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
        panel.yaxis.set_major_formatter(EngFormatter(places=0, sep=""))
        panel.set_xlabel(part["over"])
        panel.set_ylabel("relative to the least")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(folder / "growth.png", dpi=150)
