"""The table and the plot of a comparison."""

import json
from pathlib import Path

from ..core.atomic import replace_text
from ..core.types import Json
from .compare import Comparison
from .methods import METHODS
from .plots import plot_curves

COLUMNS = (
    "accuracy",
    "f1",
    "bits_per_byte",
    "bleu",
    "rouge_l",
    "perplexity",
    "ci95",
    "loss",
    "steps",
    "lr",
    "seconds_per_task",
)


def table(results: Json) -> tuple[list[str], list[list[object]]]:
    """The columns of a table and a row for each method, two for one whose best number of steps was tuned."""
    named: dict[str, Json] = {}
    for name, result in results.items():
        if name not in METHODS:
            continue
        title = METHODS[name].title
        if "best" in result:
            named |= {f"{title}, same steps": result, f"{title}, best steps": result["best"]}
        else:
            named[title] = result
    columns = [column for column in COLUMNS if any(column in result for result in named.values())]
    rows = [[title, *(result.get(column) for column in columns)] for title, result in named.items()]
    return ["", *(column.replace("_", " ") for column in columns)], rows


def harm_sentence(results: Json) -> str:
    """The harm that meta-learned adaptation does; empty if it was not measured."""
    if "meta" not in results:
        return ""
    share, worst = results["meta"]["worse_than_base"], results["meta"]["worst_5_percent"]
    return f"Meta-learned: {share:.1%} of tasks worse than the base; the worst 5% of tasks average {worst:.4g}."


def write(folder: Path, found: Comparison) -> None:
    """Writes eval.json and, if a method takes steps, steps.png."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "eval.json", json.dumps(found.results, indent=1) + "\n")
    if found.curves:
        classifiers = [name for name in found.results if name in METHODS and METHODS[name].needs_labels]
        lines = {METHODS[name].title: found.results[name][found.main] for name in classifiers}
        plot_curves(folder / "steps.png", found.curves, measure=found.main, lines=lines)
