"""Growth of time and memory with tasks, steps, examples, length, row and base; and of the store with its users."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from ...pocket.fit import Size
from ..study import Advance
from .fixtures import on_numbers, random_batch, random_llama, random_theta
from .settings import Settings, number
from .store import store

DEFAULTS = {"tasks": 2, "steps": 2, "examples": 8, "length": 32, "rank": 8, "width": 128}
SWEPT: dict[str, tuple[int, ...]] = {
    "tasks": (1, 2, 4, 8, 16),
    "steps": (1, 2, 4, 8, 16),
    "examples": (2, 4, 8, 16, 32),
    "length": (16, 32, 64, 128, 256),
    "rank": (2, 4, 8, 16, 32, 64),
    "width": (64, 128, 256, 512),
}
"""The plots show P, the numbers of a row, for `rank`, and the base's weights for `width`."""
SHORT = 2
LAYERS = 4


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Exponents e of time and memory over one quantity each, log y = a + e log x; and the store's latency.

    The work is an exact meta-gradient of a random llama of 4 blocks. Memory is the peak without base and inputs.
    """
    results: dict[str, Any] = {}
    for name, values in SWEPT.items():
        points = [_point({**DEFAULTS, name: value}) for value in values[: SHORT if settings.short else None]]
        x = {"rank": "parameters", "width": "weights"}.get(name, name)
        at = [point[x] for point in points]
        results[name] = {
            "over": x,
            "at": at,
            "seconds": [point["seconds"] for point in points],
            "bytes": [point["bytes"] for point in points],
            "time": number(exponent(at, [point["seconds"] for point in points]), "exponent"),
            "memory": number(exponent(at, [point["bytes"] for point in points]), "exponent"),
        }
        advance(1, name)
    return {**results, "store": store((1, 20) if settings.short else (1, 1_000, 100_000), advance)}


def exponent(x: list[float], y: list[float]) -> float:
    """The slope of log y over log x, by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _point(at: dict[str, int]) -> dict[str, float]:
    wide = at["width"]
    size = Size(vocabulary=1024, width=wide, layers=LAYERS, heads=4, kv_heads=4, feed_forward=3 * wide, context=512)
    base = random_llama(size)
    composed = on_numbers(base, {"adapter.rank": at["rank"], "learner": {"kind": "maml", "steps": at["steps"]}})
    ops, theta = composed.parts.ops, random_theta(composed)
    support, query = (random_batch(composed, at["tasks"], at["examples"], at["length"], seed=i) for i in range(2))
    best, peak = float("inf"), 0
    for _ in range(3):
        ops.evaluate(theta, support, query)
        ops.reset_peak_memory()
        before = ops.peak_memory()
        began = time.perf_counter()
        ops.evaluate(*composed.learner.meta_grad(theta, support, query))
        best = min(best, time.perf_counter() - began)
        peak = ops.peak_memory() - before
    return {**at, "seconds": best, "bytes": peak, "parameters": composed.layout.size, "weights": base.parameters}


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draws FOLDER/growth.png: a panel for each quantity with relative time and memory, and their exponents."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    swept = [part for part in result.values() if "over" in part]
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
        panel.set_ylabel("relative to the smallest")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(folder / "growth.png", dpi=150)
