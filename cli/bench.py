"""`melpa bench`: measures this package beside others, and against what the machine can do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .bench_continual import continual
from .bench_daily import daily
from .bench_few_shot import few_shot
from .console import command, json_out, note, out, progress, table
from .options import Json, names

bench = typer.Typer(
    no_args_is_help=True, help="Measure this package beside others, and against what the machine can do."
)
MANY = 40
"""A list longer than this, or nested, has no place in a table."""


@bench.callback()
def _bench() -> None:
    """Measure this package beside others, and against what the machine can do."""


@bench.command("speed")
@command
def speed(
    peer: Annotated[
        str | None, typer.Option(metavar="NAMES", help="mlx-lm, peft; all that are installed, unless given.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="pocket|FOLDER", help="The base model.")] = "pocket",
    only: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Sections, such as step,start; all unless given.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Measurements of each side, in turn.", min=1)] = 5,
    run: Annotated[str | None, typer.Option(help="A meta-trained run to adapt with; made where none is given.")] = None,
    json: Json = False,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write speed.json and plots there.")
    ] = None,
) -> None:
    """Measure speed beside mlx-lm's trainer and PEFT, in turns and in processes of their own; minutes to an hour."""
    from mlx_melpa.benchmarks.speed.run import PEERS, installed
    from mlx_melpa.benchmarks.speed.run import speed as measure
    from mlx_melpa.benchmarks.speed.settings import Settings

    peers = names(peer) if peer is not None else tuple(name for name in PEERS if installed(name))
    settings = Settings(model=model, peers=peers, pairs=pairs, run=run, out=folder)
    with progress("measuring", quiet=json) as advance:
        found = measure(settings, names(only), advance)
    if json:
        json_out(found)
        return
    _show(found)
    if folder is not None:
        note(f"numbers and plots: {folder}")


bench.command("continual")(continual)
bench.command("daily")(daily)
bench.command("few-shot")(few_shot)


def _show(found: dict[str, Any]) -> None:
    machine = found["machine"]
    out(
        f"{machine['device']}, {machine['cores']} cores, {machine['threads']} threads, {machine['blas']}, "
        f"{machine['gflops']:.0f} GFLOP/s; load before: {machine['load']:.1f}"
    )
    if machine["load"] > 0.3 * machine["cores"]:
        out("Something else was running: take these numbers as rough.")
    leaves = [leaf for name, section in found.items() if name != "machine" for leaf in _leaves(name, section)]
    compared = [(name, leaf) for name, leaf in leaves if isinstance(leaf, dict) and "ratio" in leaf]
    single = [(name, leaf) for name, leaf in leaves if isinstance(leaf, dict) and "ratio" not in leaf]
    rest = [(name, leaf) for name, leaf in leaves if not isinstance(leaf, dict)]
    if compared:
        columns = ("", "ours", "peer", "unit", "ratio", "pair by pair", "wanted", "")
        table(columns, [(name, *_compared(leaf)) for name, leaf in compared])
    if single:
        table(("", "found", "unit", "wanted", ""), [(n, e["value"], e.get("unit"), *_wanted(e)) for n, e in single])
    if rest:
        table(("", "found"), rest)


def _leaves(name: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Comparisons, numbers with a unit, and plain values, each with the path of keys to it."""
    if isinstance(node, dict):
        if "ratio" in node or "value" in node:
            yield name, node
            return
        for key, child in node.items():
            yield from _leaves(f"{name}.{key}", child)
    elif not isinstance(node, list):
        yield name, node
    elif len(str(node)) <= MANY:
        yield name, str(node)


def _compared(leaf: dict[str, Any]) -> tuple[Any, ...]:
    pairs = " ".join(f"{ratio:.2f}" for ratio in leaf.get("pairs", ()))
    return leaf["ours"], leaf["peer"], leaf.get("unit"), leaf["ratio"], pairs, *_wanted(leaf)


def _wanted(leaf: dict[str, Any]) -> tuple[str | None, str | None]:
    for key, sign in (("at_least", ">="), ("at_most", "<=")):
        if key in leaf:
            return f"{sign} {leaf[key]:g}", "met" if leaf["met"] else "not met"
    return None, None
