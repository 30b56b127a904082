"""`melpa bench continual`: learns streams of tasks by several methods, and measures what is remembered."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mlx_melpa.benchmarks.continual.settings import Settings

from .console import command, json_out, note, out, progress, size, table
from .options import Backend, Json, Sets, names

MEASURES = {
    "acc": "ACC",
    "bwt": "BWT",
    "forgetting": "forgetting",
    "learning_accuracy": "learning acc.",
    "fwt_gem": "FWT (GEM)",
    "fwt_single": "FWT (single)",
}
RATES = ",".join(f"{rate:g}" for rate in Settings.rates)
COSTS = ("general text", "runs", "lr", "strength", "trained", "bytes per user", "s/task", "GFLOP/task", "stored")

Recipe = Annotated[str, typer.Argument(help="A recipe whose task file has groups, the tasks; or a run's folder.")]
Methods = Annotated[str, typer.Option(help="Names with commas, such as naive,replay; all that fit by default.")]
Run = Annotated[Path | None, typer.Option(help="A meta-trained run: methods begin from it too.")]
Tasks = Annotated[str | None, typer.Option(help="Names of tasks or groups with commas, in this order; default all.")]
LabelsPerTask = Annotated[
    int | None,
    typer.Option("--labels-per-task", help="Cut groups into tasks of so many labels, or texts without labels.", min=2),
]
Shots = Annotated[int | None, typer.Option(help="Examples to learn, per label; the recipe's by default.", min=1)]
Queries = Annotated[int | None, typer.Option(help="Examples to test, per label; the recipe's by default.", min=1)]
Steps = Annotated[
    int | None, typer.Option(help=f"Gradient steps of each task; the run's own, else {Settings.steps}.", min=1)
]
Orders = Annotated[int, typer.Option(help="Orders of the tasks.", min=1)]
Seeds = Annotated[int, typer.Option(help="Draws of examples and random starts.", min=1)]
Rates = Annotated[str, typer.Option(help="Adam's rates for a random start; each method gets as many trials.")]
Buffer = Annotated[int, typer.Option(help="Examples that replay stores of a task.", min=1)]
Scenario = Annotated[
    Literal["task-incremental", "class-incremental"],
    typer.Option(help="Candidates at test: the task's own labels, or those of all tasks so far."),
]
Corpus = Annotated[Path | None, typer.Option(help="Text for general ability; the package's own by default.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Keep results one by one; resume from them.")]


@command
def continual(
    recipe: Recipe,
    methods: Methods = "all",
    run: Run = None,
    tasks: Tasks = None,
    labels_per_task: LabelsPerTask = None,
    shots: Shots = None,
    queries: Queries = None,
    steps: Steps = None,
    orders: Orders = Settings.orders,
    seeds: Seeds = Settings.seeds,
    rates: Rates = RATES,
    buffer: Buffer = Settings.buffer,
    scenario: Scenario = "task-incremental",
    corpus: Corpus = None,
    sets: Sets = None,
    backend: Backend = None,
    json: Json = False,
    folder: Out = None,
) -> None:
    """Learn streams of tasks by several methods at equal steps: labels to tell apart, or texts to write."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.benchmarks.continual import run as bench
    from mlx_melpa.benchmarks.continual.source import load_source
    from mlx_melpa.benchmarks.continual.tasks import load_stream

    adam_rates = _rates(rates)
    source = load_source(recipe, run, sets or (), backend)
    sizes = {"shots": shots, "queries": queries, "labels_per_task": labels_per_task}
    stream = load_stream(source.tasks, **sizes, names=names(tasks), seen=source.seen, texts=True)
    settings = Settings(
        recipe=source.recipe,
        stream=stream,
        run=source.run,
        methods=() if methods == "all" else names(methods),
        orders=orders,
        seeds=seeds,
        steps=steps or source.steps,
        rates=adam_rates,
        buffer=buffer,
        scenario=scenario,
        corpus=corpus,
        out=folder,
    )
    with progress("learning", total=len(settings.jobs), quiet=json) as advance:
        summary = bench.continual(settings, advance)
    if json:
        json_out(summary)
        return
    _show(summary)
    for text in stream.notes:
        note(text)
    if folder is not None:
        note(f"numbers and plots: {folder}")


def _rates(text: str) -> tuple[float, ...]:
    from mlx_melpa.errors import MelpaError

    try:
        return tuple(float(rate) for rate in names(text))
    except ValueError:
        raise MelpaError(f"--rates: '{text}' is no list of numbers; write such as 1e-3,3e-3") from None


def _show(summary: dict[str, Any]) -> None:
    """Prints one line per method."""
    labelled, shots = summary["measure"] == "accuracy", summary["shots"]
    learned = f"{shots} shots a label" if labelled else f"{shots} texts a task"
    out(f"{len(summary['tasks'])} tasks, {learned}, {summary['steps']} steps a task; * stores examples")
    if labelled:
        own = summary["scenario"] == "task-incremental"
        among = "its own labels" if own else "the labels of all tasks so far"
        out(f"accuracy of a task in percent, among {among}; chance level: {summary['chance']:.1%}")
    else:
        out("bits per byte of a task's texts, less is better; negative transfer and positive forgetting are losses")
    columns = ("", *MEASURES.values(), *COSTS)
    table(columns, [(name, *_row(entry, labelled)) for name, entry in summary["methods"].items()])
    out("general text: bits per byte before and after; FWT (GEM): against the untrained model; FWT (single): against")
    out("a model of that task alone")


def _row(entry: dict[str, Any], labelled: bool) -> tuple[Any, ...]:
    """The cells of a method."""
    stored = f"{entry['stored']} *" if entry["stored"] else None
    work = None if entry["flops"] is None else f"{entry['flops'] / 1e9:.3g}"
    before, after = entry["general"]
    text = None if after is None else f"{before:.3f} → {after:.3f}"
    costs = (entry["parameters"], size(entry["nbytes"]), entry["seconds"], work, stored)
    measures = (_interval(entry[name], labelled) for name in MEASURES)
    return (*measures, text, entry["runs"], entry["lr"], entry["strength"], *costs)


def _interval(value: dict[str, float | None], labelled: bool) -> str | None:
    """A mean with its interval, in percent or in bits per byte; nothing where there is none."""
    if value["mean"] is None:
        return None
    if labelled:
        return f"{100 * value['mean']:.1f} ±{100 * (value['ci95'] or 0):.1f}"
    return f"{value['mean']:.3f} ±{value['ci95'] or 0:.3f}"
