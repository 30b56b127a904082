"""`melpa explain`: what a recipe's keys, kinds and settings mean, and when to use them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .console import command, json_out, out, table
from .options import Json

if TYPE_CHECKING:
    from mlx_melpa.config.explain import Entry


@command
def explain(
    name: Annotated[
        str | None, typer.Argument(help="A key, a kind or a setting: learner, maml, readout.ridge.temperature.")
    ] = None,
    json: Json = False,
) -> None:
    """Explain a recipe's key, kind or setting: what it does, its settings, when to use it; all kinds without NAME."""
    from mlx_melpa.config.explain import entries
    from mlx_melpa.config.explain import explain as find

    found = entries() if name is None else find(name)
    if json:
        json_out([entry.record() for entry in found])
    elif name is None:
        lines = [(key.name, kind.last, kind.does) for key in found for kind in _kinds(key)]
        plain = [(key.name, None, key.does) for key in found if not _kinds(key)]
        table(("key", "kind", "what it is"), [*lines, *plain])
        out("\nMore about one: melpa explain KEY, KIND or KIND.SETTING")
    else:
        out("\n\n".join(text for entry in found for text in _paragraphs(entry)))


def _kinds(key: "Entry") -> list["Entry"]:
    return [below for below in key.below if not below.allowed]


def _paragraphs(entry: "Entry") -> Iterator[str]:
    value = f": {entry.allowed}" if entry.allowed else ""
    default = f" (default: {entry.default})" if entry.default not in ("", "required") else ""
    yield f"{entry.name}{value}{default}\n{entry.does}"
    yield from (text for text in (*entry.more, entry.formula, entry.use, entry.avoid) if text)
    kinds = [f"  {kind.last}: {kind.does}" for kind in _kinds(entry)]
    if kinds:
        yield "\n".join(["Kinds:", *kinds])
    settings = [_setting(below) for below in entry.below if below.allowed]
    if settings:
        yield "\n".join(["Settings:", *settings])


def _setting(entry: "Entry") -> str:
    default = "required" if entry.default == "required" else f"default {entry.default}"
    return f"  {entry.last}: {entry.does}\n    {entry.allowed}; {default}"
