"""`melpa meta-train`: a recipe becomes a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import command, json_out, note, out, progress, size, table
from .options import Json

PLACES = {"accuracy": ".1%", "loss": ".4f", "bits_per_byte": ".4f"}


@command
def meta_train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a packaged recipe.")],
    to: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder.", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint, where there is one.")
    ] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: train.iterations=50.")
    ] = None,
    backend: Annotated[
        Literal["mlx", "torch"] | None, typer.Option(help="The engine; the recipe's own unless given.")
    ] = None,
    track: Annotated[str | None, typer.Option(metavar="KIND", help="tensorboard or wandb.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say how long it would take, and how much memory.")
    ] = False,
    json: Json = False,
) -> None:
    """Learn how to adapt, over many tasks or people."""
    from mlx_melpa.config.build import engine, on_backend
    from mlx_melpa.config.recipe import load_recipe
    from mlx_melpa.errors import MelpaError
    from mlx_melpa.training.loggers import tracker
    from mlx_melpa.training.meta_train import meta_train as train

    read = on_backend(load_recipe(recipe, sets or ()), backend)
    if estimate:
        foretell(read, json)
        return
    if to is None:
        raise MelpaError("where shall the run go? Give --out DIR (or --estimate, which writes nothing)")
    rank, _ = engine(read.resolved["backend"]).ranks()
    kept = tracker(track, to, read.resolved) if track and rank == 0 else None
    try:
        events = train(read, to, resume=resume)
        last = follow(events, to, json or rank > 0, kept)
        if rank == 0:  # the others have no folder to finish and nothing to say
            finish(last, to, json)
    finally:
        if kept:
            kept.close()


def foretell(recipe: Any, json: bool) -> None:
    """Shows what a recipe would cost here."""
    from mlx_melpa.training.estimate import estimate

    found = estimate(recipe)
    if json:
        json_out(found.to_json())
        return
    rows = [
        ("iterations", found.iterations),
        ("seconds an iteration", found.iteration),
        ("minutes in all, about", f"{found.seconds / 60:.1f}"),
        ("memory at most, about", size(found.memory)),
        ("tasks in one pass", found.tasks_per_pass),
    ]
    table(("", recipe.name), rows)


def follow(events: Iterator[dict[str, Any]], to: Path, quiet: bool, kept: Any = None) -> dict[str, Any]:
    """Shows meta-training as it goes and gives its last numbers; Ctrl-C says how to go on."""
    import shlex

    start = next(events)
    for remark in start["notes"]:
        note(remark)
    if start["iteration"] and not quiet:
        note(f"goes on after iteration {start['iteration']}")
    last: dict[str, Any] = {}
    clock = 0.0
    try:
        with progress("meta-training", start["iterations"], quiet) as advance:
            advance(start["iteration"])
            for event in events:
                last |= event
                if kept:
                    kept.take(event)
                if event["event"] == "step":
                    advance(1, text=_line(event, event["seconds"] - clock))
                    clock = event["seconds"]
                elif event["event"] == "validation" and not quiet:
                    note(f"iteration {event['iteration']}: on unseen tasks {_shown(event['measure'], event)}")
    except KeyboardInterrupt:
        there = (to / "checkpoint.safetensors").is_file()
        kept_so_far = (
            f"the last checkpoint is in {to}" if there else "before the first checkpoint: going on begins anew"
        )
        note(f"stopped at iteration {last.get('iteration', start['iteration'])}; {kept_so_far}")
        # the stored recipe has what --set changed
        note(
            f"go on with: melpa meta-train {shlex.quote(str(to / 'recipe.yaml'))} --out {shlex.quote(str(to))} --resume"
        )
        raise typer.Exit(130) from None
    return last


def finish(last: dict[str, Any], to: Path, json: bool) -> None:
    """Notes a finished run in the store, so that adapting finds it, and shows what it came to."""
    from mlx_melpa.store import Store
    from mlx_melpa.store.run import describe, fingerprint

    base, mark = describe(to)["base"], fingerprint(to)
    if base is not None:
        with Store() as store:
            store.add_run(to.resolve().name, to, mark, base["family"])
    measure = last.get("measure", "loss")
    if json:
        names = ("iteration", "seconds", "loss", "accuracy", "bits_per_byte", "best", "memory")
        json_out({"run": to.resolve(), "fingerprint": mark, **{k: last[k] for k in names if k in last}})
        return
    rows: list[tuple[str, Any]] = [("iterations", last["iteration"]), ("seconds", f"{last['seconds']:.1f}")]
    if measure in last:
        rows.append((f"{measure.replace('_', ' ')} on unseen tasks", _number(measure, last[measure])))
        rows.append(("the best on the way", None if last["best"] is None else _number(measure, last["best"])))
    if last.get("memory"):
        rows.append(("memory at most", size(int(last["memory"]))))
    table(("", str(to)), [*rows, ("fingerprint", mark)])
    if base is not None:
        out("\nNext: melpa adapt --user me DATA")


def _line(event: dict[str, Any], seconds: float) -> str:
    speed = event["tokens"] / max(seconds, 1e-9)
    checked = event.get("validation")
    parts = [f"query loss {event['loss']:.4f}"]
    parts += [] if checked is None else [f"unseen {checked:.4g}"]
    parts += [f"{speed:,.0f} tokens/s"] if event["tokens"] else []
    return ", ".join([*parts, size(int(event["memory"]))])


def _number(measure: str, value: float) -> str:
    return format(value, PLACES.get(measure, ".4g"))


def _shown(measure: str, event: dict[str, Any]) -> str:
    main = f"{measure.replace('_', ' ')} {_number(measure, event[measure])}"
    return main if measure == "loss" else f"{main}, loss {event['loss']:.4f}"
