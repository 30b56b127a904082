"""`melpa bench continual`: learns streams of tasks by several methods, and says what is kept."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import command, json_out, note, out, progress, size, table
from .options import Json, names

MEASURES = {
    "acc": "ACC",
    "bwt": "BWT",
    "forgetting": "forgetting",
    "learning_accuracy": "learning acc.",
    "fwt_gem": "FWT (GEM)",
    "fwt_single": "FWT (single)",
}
COSTS = ("plain text", "runs", "lr", "strength", "numbers trained", "a person", "s/task", "GFLOP/task", "stored")
STEPS = 20
"""Gradient steps of a task where no run has its own number."""


@command
def continual(
    recipe: Annotated[
        str, typer.Argument(help="A recipe whose tasks are a file: its groups become the stream; or a run's folder.")
    ],
    methods: Annotated[str, typer.Option(help="Names with commas, such as sequential,replay.")] = "all",
    run: Annotated[Path | None, typer.Option(help="A meta-trained run: methods begin from it too.")] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Names of tasks or groups with commas, in this order; all unless given.")
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(help="Cut each group's labels, or texts without labels, into tasks of so many.", min=2)
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Examples to learn, per label; the recipe's.", min=1)] = None,
    queries: Annotated[
        int | None, typer.Option(help="Examples to be judged on, per label; the recipe's.", min=1)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Gradient steps of each task, for every method; a run's own, else 20.", min=1)
    ] = None,
    orders: Annotated[int, typer.Option(help="Orders of the tasks.", min=1)] = 5,
    seeds: Annotated[int, typer.Option(help="Draws of examples and random starts.", min=1)] = 3,
    rates: Annotated[
        str, typer.Option(help="Adam's rates for a random start, as many trials for each method, on examples apart.")
    ] = "3e-4,1e-3,3e-3,1e-2",
    buffer: Annotated[int, typer.Option(help="Examples that a method which rehearses stores of a task.", min=1)] = 50,
    protocol: Annotated[
        Literal["known", "all"],
        typer.Option(help="Candidates at test: the known task's own labels, or those of all tasks so far."),
    ] = "known",
    corpus: Annotated[
        Path | None, typer.Option(help="Plain text for general ability; a text of the package unless given.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the recipe: tasks.train=FILE.")
    ] = None,
    backend: Annotated[Literal["mlx", "torch"] | None, typer.Option(help="The engine; the recipe's.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say how long it takes, and stop.")] = False,
    json: Json = False,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep results there as they come; go on from them.")
    ] = None,
) -> None:
    """Learn streams of tasks by several methods at equal steps: labels to tell apart, or texts to write."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.benchmarks.continual import run as bench
    from mlx_melpa.benchmarks.continual.methods import KINDS
    from mlx_melpa.benchmarks.continual.settings import Settings, kind, writes
    from mlx_melpa.benchmarks.continual.tasks import stream
    from mlx_melpa.config.build import on_backend
    from mlx_melpa.config.recipe import load_recipe
    from mlx_melpa.errors import MelpaError
    from mlx_melpa.store.run import load_run

    if (Path(recipe) / "run.json").is_file():
        run, recipe = run or Path(recipe), str(Path(recipe) / "recipe.yaml")
    read = on_backend(load_recipe(recipe, sets or ()), backend)
    loaded = load_run(run, backend=backend) if run else None
    own = [key for key in sets or () if not key.startswith("tasks.")]
    if loaded and own:
        raise MelpaError(f"--set {own[0]}: with --run all but tasks is the run's own; leave it out, or leave out --run")
    begins = (loaded.composed.recipe.resolved["initializer"] or {}).get("kind") if loaded else None
    if begins in ("hypernetwork", "prototype"):
        raise MelpaError(f"initializer {begins} begins each task anew, and a stream goes on from one row; take another")
    seen = loaded.info["seen"] if loaded else ()
    try:
        chosen = tuple(float(rate) for rate in names(rates))
    except ValueError:
        raise MelpaError(f"--rates: '{rates}' is no list of numbers; write such as 1e-3,3e-3") from None
    found = stream(read, shots=shots, queries=queries, chunk=chunk, names=names(tasks), seen=seen, texts=True)
    composed = loaded.composed.recipe if loaded else read
    lora = composed.resolved["adapter"]["kind"] == "lora"
    fitting = [name for name in KINDS if (found.labelled or writes(name)) and (lora or not kind(name).blocks)]
    settings = Settings(
        recipe=composed,
        stream=found,
        run=loaded,
        methods=tuple(fitting) if methods == "all" else names(methods),
        orders=orders,
        seeds=seeds,
        steps=steps or (loaded.steps if loaded else STEPS),
        rates=chosen,
        buffer=buffer,
        protocol=protocol,
        corpus=corpus,
        out=folder,
    )
    if estimate:
        told = bench.estimate(settings)
        if json:
            json_out(told)
        else:
            out(f"{told['streams']:.0f} streams are left, about {told['seconds'] / 60:.3g} minutes")
        return
    with progress("learning", total=settings.pieces(), quiet=json) as advance:
        measured = bench.continual(settings, advance)
    if json:
        json_out(measured)
        return
    show(measured)
    for text in settings.stream.notes:
        note(text)
    if folder is not None:
        note(f"numbers and pictures: {folder}")


def show(found: dict[str, Any]) -> None:
    """Prints one line a method."""
    labelled, shots = found["measure"] == "accuracy", found["shots"]
    learned = f"{shots} shots a label" if labelled else f"{shots} texts a task"
    out(f"{len(found['tasks'])} tasks, {learned}, {found['steps']} steps a task; * stores examples")
    if labelled:
        among = "its own labels" if found["protocol"] == "known" else "the labels of all tasks so far"
        out(f"accuracy of a task in percent, among {among}; guessing: {found['chance']:.1%}")
    else:
        out(
            "bits per byte of a task's texts, less is better; transfer below 0 and forgetting above 0 are for the worse"
        )
    columns = ("", *MEASURES.values(), *COSTS)
    table(columns, [(name, *row(entry, labelled)) for name, entry in found["methods"].items()])
    out("plain text: bits per byte at the start, and at the end; FWT (GEM): against the untrained model, FWT (single):")
    out("against a model of that task alone")


def row(entry: dict[str, Any], labelled: bool) -> tuple[Any, ...]:
    """The cells of a method."""
    stored = f"{entry['stored']} *" if entry["stored"] else None
    work = None if entry["flops"] is None else f"{entry['flops'] / 1e9:.3g}"
    before, after = entry["general"]
    text = None if after is None else f"{before:.3f} → {after:.3f}"
    costs = (entry["parameters"], size(entry["nbytes"]), entry["seconds"], work, stored)
    measures = (shown(entry[name], labelled) for name in MEASURES)
    return (*measures, text, entry["runs"], entry["lr"], entry["strength"], *costs)


def shown(value: dict[str, float | None], labelled: bool = True) -> str | None:
    """A mean with its interval, in percent or in bits per byte; nothing where there is none."""
    if value["mean"] is None:
        return None
    if labelled:
        return f"{100 * value['mean']:.1f} ±{100 * (value['ci95'] or 0):.1f}"
    return f"{value['mean']:.3f} ±{value['ci95'] or 0:.3f}"
