"""Pictures of what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import MelpaError

Curves = Mapping[str, tuple[Sequence[int], Sequence[float]]]


def plot_curves(
    path: str | Path, curves: Curves, *, measure: str = "accuracy", lines: Mapping[str, float] | None = None
) -> Path:
    """Plots {name: (steps, means)}, one measure against inner steps, and constant `lines`, into the file `path`.

    Raises MelpaError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MelpaError("a plot needs matplotlib; install it with: pip install 'mlx-melpa[plots]'") from error
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
    return Path(path)
