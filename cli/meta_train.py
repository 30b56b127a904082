"""`melpa meta-train`: trains a recipe into a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import command, json_out, note, out, progress, size, table
from .options import Backend, Json, RecipeName, Sets

if TYPE_CHECKING:
    from mlx_melpa.config.recipe import Recipe
    from mlx_melpa.training.loggers import Logger
    from mlx_melpa.training.meta_train import Event

FORMATS = {"accuracy": ".1%", "loss": ".4f", "bits_per_byte": ".4f"}


@command
def meta_train(
    recipe: RecipeName,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume at the last checkpoint, if there is one.")] = False,
    sets: Sets = None,
    backend: Backend = None,
    log_to: Annotated[str | None, typer.Option("--logger", metavar="KIND", help="tensorboard or wandb.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only print how long it would take, and how much memory.")
    ] = False,
    json: Json = False,
) -> None:
    """Learn how to adapt, over many tasks or people."""
    from mlx_melpa.config.build import engine, on_backend
    from mlx_melpa.config.recipe import load_recipe
    from mlx_melpa.errors import MelpaError
    from mlx_melpa.training.loggers import logger
    from mlx_melpa.training.meta_train import meta_train as train

    read = on_backend(load_recipe(recipe, sets or ()), backend)
    if estimate:
        print_estimate(read, json)
        return
    if to is None:
        raise MelpaError("where shall the run go? Give --out DIR (or --estimate, which writes nothing)")
    rank, _ = engine(read.backend).ranks()
    log = logger(log_to, to, read.resolved) if log_to and rank == 0 else None
    try:
        events = train(read, to, resume=resume)
        last = follow(events, to, json or rank > 0, log)
        if rank == 0:  # the others have no folder to finish and nothing to print
            finish(last, to, json)
    finally:
        if log:
            log.close()


def print_estimate(recipe: "Recipe", json: bool) -> None:
    """Prints what a recipe would cost on this machine."""
    from mlx_melpa.training.estimate import estimate

    expected = estimate(recipe)
    if json:
        json_out(expected.to_json())
        return
    rows = [
        ("iterations", expected.iterations),
        ("seconds an iteration", expected.iteration),
        ("minutes in all, about", f"{expected.seconds / 60:.1f}"),
        ("memory at most, about", size(expected.memory)),
        ("tasks in one pass", expected.tasks_per_pass),
    ]
    table(("", recipe.name), rows)


def follow(events: Iterator["Event"], to: Path, quiet: bool, log: "Logger | None" = None) -> "Event":
    """Shows the progress of meta-training and returns its last numbers; Ctrl-C prints how to resume."""
    import shlex

    start = next(events)
    for remark in start["notes"]:
        note(remark)
    if start["iteration"] and not quiet:
        note(f"resumes after iteration {start['iteration']}")
    last: Event = {}
    clock = 0.0
    try:
        with progress("meta-training", start["iterations"], quiet) as advance:
            advance(start["iteration"])
            for event in events:
                last |= event
                if log:
                    log.log(event)
                if event["event"] == "step":
                    advance(1, text=_line(event, event["seconds"] - clock))
                    clock = event["seconds"]
                elif event["event"] == "validation" and not quiet:
                    note(f"iteration {event['iteration']}: on unseen tasks {_shown(event['measure'], event)}")
    except KeyboardInterrupt:
        there = (to / "checkpoint.safetensors").is_file()
        kept = f"the last checkpoint is in {to}" if there else "before the first checkpoint: resuming begins anew"
        note(f"stopped at iteration {last.get('iteration', start['iteration'])}; {kept}")
        # the stored recipe has what --set changed
        recipe, folder = shlex.quote(str(to / "recipe.yaml")), shlex.quote(str(to))
        note(f"resume with: melpa meta-train {recipe} --out {folder} --resume")
        raise typer.Exit(130) from None
    return last


def finish(last: "Event", to: Path, json: bool) -> None:
    """Registers a finished run in the store, so that `melpa adapt` finds it, and prints its last numbers."""
    from mlx_melpa.store import Store
    from mlx_melpa.store.run import describe, fingerprint, register

    base, mark = describe(to)["base"], fingerprint(to)
    if base is not None:
        with Store() as store:
            register(store, to)
    measure = last.get("measure", "loss")
    if json:
        names = ("iteration", "seconds", "loss", "accuracy", "bits_per_byte", "best", "memory")
        json_out({"run": to.resolve(), "fingerprint": mark, **{k: last[k] for k in names if k in last}})
        return
    rows: list[tuple[str, Any]] = [("iterations", last["iteration"]), ("seconds", f"{last['seconds']:.1f}")]
    if measure in last:
        rows.append((f"{measure.replace('_', ' ')} on unseen tasks", _number(measure, last[measure])))
        rows.append(("the best of all", None if last["best"] is None else _number(measure, last["best"])))
    if last.get("memory"):
        rows.append(("memory at most", size(int(last["memory"]))))
    table(("", str(to)), [*rows, ("fingerprint", mark)])
    if base is not None:
        out("\nNext: melpa adapt --user me DATA")


def _line(event: "Event", seconds: float) -> str:
    speed = event["tokens"] / max(seconds, 1e-9)
    validation = event.get("validation")
    parts = [f"query loss {event['loss']:.4f}"]
    parts += [] if validation is None else [f"unseen {validation:.4g}"]
    parts += [f"{speed:,.0f} tokens/s"] if event["tokens"] else []
    return ", ".join([*parts, size(int(event["memory"]))])


def _number(measure: str, value: float) -> str:
    return format(value, FORMATS.get(measure, ".4g"))


def _shown(measure: str, event: "Event") -> str:
    main = f"{measure.replace('_', ' ')} {_number(measure, event[measure])}"
    return main if measure == "loss" else f"{main}, loss {event['loss']:.4f}"
