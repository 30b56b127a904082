"""`melpa bench`: benchmarks of speed, few-shot accuracy and continual learning."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .bench_continual import continual
from .bench_daily import daily
from .bench_few_shot import few_shot
from .console import command, json_out, note, out, progress, table
from .options import Json, names

bench = typer.Typer(no_args_is_help=True, help="Benchmarks of speed, few-shot accuracy and continual learning.")
MAX_CHARACTERS = 40
"""Longer lists are left out of tables."""


@bench.callback()
def _bench() -> None:
    """Benchmarks of speed, few-shot accuracy and continual learning."""


@bench.command("speed")
@command
def speed(
    peer: Annotated[
        str | None, typer.Option(metavar="NAMES", help="mlx-lm, peft; default all that are installed.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="pocket|FOLDER", help="The base model.")] = "pocket",
    only: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Sections, such as step,start; default all.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Interleaved measurements of each side.", min=1)] = 5,
    run: Annotated[str | None, typer.Option(help="A meta-trained run to adapt with; default a new one.")] = None,
    json: Json = False,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write speed.json and plots there.")
    ] = None,
) -> None:
    """Compare speed with mlx-lm's trainer and PEFT, interleaved, in processes of their own; minutes to an hour."""
    from mlx_melpa.benchmarks.speed.run import PEERS, installed
    from mlx_melpa.benchmarks.speed.run import speed as measure
    from mlx_melpa.benchmarks.speed.settings import Settings

    peers = names(peer) if peer is not None else tuple(name for name in PEERS if installed(name))
    settings = Settings(model=model, peers=peers, repeats=repeats, run=run, out=folder)
    with progress("measuring", quiet=json) as advance:
        results = measure(settings, names(only), advance)
    if json:
        json_out(results)
        return
    _show(results)
    if folder is not None:
        note(f"numbers and plots: {folder}")


bench.command("continual")(continual)
bench.command("daily")(daily)
bench.command("few-shot")(few_shot)


def _show(results: dict[str, Any]) -> None:
    machine = results["machine"]
    out(
        f"{machine['device']}, {machine['cores']} cores, {machine['threads']} threads, {machine['blas']}, "
        f"{machine['gflops']:.0f} GFLOP/s; load before: {machine['load']:.1f}"
    )
    if machine["load"] > 0.3 * machine["cores"]:
        out("The machine was busy: these numbers are rough.")
    leaves = [leaf for name, section in results.items() if name != "machine" for leaf in _leaves(name, section)]
    compared = [(name, leaf) for name, leaf in leaves if isinstance(leaf, dict) and "ratio" in leaf]
    single = [(name, leaf) for name, leaf in leaves if isinstance(leaf, dict) and "ratio" not in leaf]
    rest = [(name, leaf) for name, leaf in leaves if not isinstance(leaf, dict)]
    if compared:
        columns = ("", "ours", "peer", "unit", "ratio", "pairs", "goal", "")
        table(columns, [(name, *_compared(leaf)) for name, leaf in compared])
    if single:
        table(("", "value", "unit", "goal", ""), [(n, e["value"], e.get("unit"), *_goal(e)) for n, e in single])
    if rest:
        table(("", "value"), rest)


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
    elif len(str(node)) <= MAX_CHARACTERS:
        yield name, str(node)


def _compared(leaf: dict[str, Any]) -> tuple[Any, ...]:
    pairs = " ".join(f"{ratio:.2f}" for ratio in leaf.get("pairs", ()))
    return leaf["ours"], leaf["peer"], leaf.get("unit"), leaf["ratio"], pairs, *_goal(leaf)


def _goal(leaf: dict[str, Any]) -> tuple[str | None, str | None]:
    for key, sign in (("at_least", ">="), ("at_most", "<=")):
        if key in leaf:
            return f"{sign} {leaf[key]:g}", "met" if leaf["met"] else "not met"
    return None, None
