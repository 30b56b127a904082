"""Plots of measurements. Every function raises MelpaError without matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.types import Json
from ..errors import MelpaError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, tuple[Sequence[int], Sequence[float]]]


def plot_curves(
    path: str | Path, curves: Curves, *, measure: str = "accuracy", lines: Mapping[str, float] | None = None
) -> Path:
    """Plots {name: (steps, means)}, one measure against inner steps, and constant `lines`, into the file `path`."""
    figure, axes = _axes()
    for name, (steps, values) in curves.items():
        axes.plot(list(steps), list(values), marker="o", markersize=3, label=name)
    for i, (name, value) in enumerate((lines or {}).items()):
        axes.axhline(value, linestyle=("--", ":", "-.")[i % 3], color="0.5", linewidth=1, label=name)
    # Few steps matter most, and 0 must be on the axis.
    axes.set_xscale("symlog", linthresh=5)
    ticks = [t for t in (0, 1, 2, 3, 5, 10, 20, 50, 100) if t <= max(max(steps) for steps, _ in curves.values())]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.set_xlabel("steps")
    axes.set_ylabel(measure.replace("_", " "))
    axes.legend(frameon=False, fontsize=8)
    return _written(figure, path)


def plot_pairs(path: str | Path, found: Mapping[str, Json], *, measure: str) -> Path:
    """Plots comparisons {name: {"ratio", "pairs", "at_least"}}: ratios as bars, their pairs as dots, goals as lines."""
    figure, axes = _axes()
    for i, entry in enumerate(found.values()):
        axes.bar(i, entry["ratio"], color="0.8", width=0.6)
        axes.plot([i] * len(entry["pairs"]), entry["pairs"], "o", color="C0", markersize=3)
        if "at_least" in entry:
            axes.plot([i - 0.4, i + 0.4], [entry["at_least"]] * 2, color="C1", linewidth=1)
    axes.axhline(1, color="0.5", linewidth=1, linestyle=":")
    axes.set_xticks(range(len(found)), [name.replace("_", "\n") for name in found])
    axes.set_ylabel(measure)
    return _written(figure, path)


def plot_race(
    path: str | Path,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    points: Mapping[str, tuple[float, float]],
) -> Path:
    """Plots losses against seconds: curves {name: (seconds, losses)} and single points {name: (seconds, loss)}."""
    figure, axes = _axes()
    for name, (seconds, losses) in curves.items():
        axes.plot(seconds, losses, label=name, linewidth=1)
    for name, (second, loss) in points.items():
        axes.plot([second], [loss], "o", color="k", label=name)
    axes.set_xlabel("seconds")
    axes.set_ylabel("held-out loss (nats per token)")
    axes.legend(frameon=False, fontsize=8)
    return _written(figure, path)


def plot_matrix(path: str | Path, r: np.ndarray, *, title: str = "", measure: str = "accuracy") -> Path:
    """Plots R (T, T) as a heat map, a row after each task, a column for each; accuracies are in percent."""
    figure, axes = _axes()
    percent = measure == "accuracy"
    shown = axes.imshow(r, cmap="viridis", **({"vmin": 0, "vmax": 1} if percent else {}))
    for i, row in enumerate(r):
        for j, value in enumerate(row):
            if value == value:  # NaN if a task was not measured
                dark = "white" if shown.norm(value) < 0.6 else "black"
                text = f"{100 * value:.0f}" if percent else f"{value:.2f}"
                axes.text(j, i, text, ha="center", va="center", color=dark, fontsize=7)
    places = range(len(r))
    axes.set_xticks(places, [str(i + 1) for i in places])
    axes.set_yticks(places, [str(i + 1) for i in places])
    axes.set_xlabel(f"{measure.replace('_', ' ')} on task")
    axes.set_ylabel("after task")
    axes.set_title(title, fontsize=9)
    figure.colorbar(shown)
    return _written(figure, path)


def plot_over(path: str | Path, curves: Curves, *, x: str, y: str) -> Path:
    """Plots {name: (places, values)} with names for both axes."""
    figure, axes = _axes()
    for name, (places, values) in curves.items():
        axes.plot(list(places), list(values), marker="o", markersize=3, label=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize=7, ncols=2)
    return _written(figure, path)


def _axes() -> "tuple[Figure, Any]":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MelpaError("a plot needs matplotlib; install it with: pip install 'mlx-melpa[plots]'") from error
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    return figure, figure.subplots()


def _written(figure: "Figure", path: str | Path) -> Path:
    figure.axes[0].spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    return Path(path)
