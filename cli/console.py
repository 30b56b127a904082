"""The only module that prints: results on stdout, notes, errors and progress on stderr."""

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from mlx_melpa.errors import MelpaError

Function = TypeVar("Function", bound=Callable[..., Any])
# Piped output has no width of its own; rich would assume 80 columns and cut names short.
PIPE_WIDTH = 240


def _screen(stderr: bool = False) -> "Console":
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH, markup=False, highlight=False)


def out(what: Any = "") -> None:
    """Prints text as it stands, or any rich renderable."""
    if isinstance(what, str):
        typer.echo(what)
    else:
        _screen().print(what)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_out(what: Any) -> None:
    """Prints one JSON document; paths become text, NumPy values numbers and lists."""
    typer.echo(json.dumps(what, ensure_ascii=False, indent=2, default=_plain))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Prints a table; None is left blank, and a column of numbers is set to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    grid = Table(
        title=title,
        title_justify="left",
        show_header=any(columns),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for i, name in enumerate(columns):
        values = [row[i] for row in cells if row[i] is not None]
        right = bool(values) and all(isinstance(v, int | float) for v in values)
        grid.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text("" if value is None else shown(value)) for value in row))
    _screen().print(grid)


def shown(value: Any) -> str:
    """Writes one value for people: four digits of a float, a thin comma in a large count."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def size(nbytes: int) -> str:
    """Writes a count of bytes: '812 B', '24.6 kB', '3.1 MB'."""
    if nbytes < 1000:
        return f"{nbytes} B"
    number = nbytes / 1000
    for unit in ("kB", "MB"):
        if number < 1000:
            return f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def when(seconds: float, iso: bool = False) -> str:
    """Writes a time since the epoch: the local date and minute, or ISO 8601 in UTC for JSON."""
    from datetime import UTC, datetime

    if iso:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def note(text: str) -> None:
    """Prints a remark on stderr, so that stdout stays clean for a pipe."""
    typer.echo(text, err=True)


def stream(pieces: Iterable[str]) -> str:
    """Prints text piece by piece as it comes, ends the line, and gives the whole."""
    said = []
    for piece in pieces:
        typer.echo(piece, nl=False)
        sys.stdout.flush()
        said.append(piece)
    typer.echo()
    return "".join(said)


def ask(prompt: str) -> str | None:
    """Reads one line of input, with a prompt on a terminal; None where the input ends."""
    if sys.stdin.isatty():
        try:
            return input(prompt).strip()
        except EOFError:
            return None
    line = sys.stdin.readline()
    return line.strip() if line else None


def agree(question: str, yes: bool, otherwise: str) -> None:
    """Asks a question on stderr unless `yes` answers it; with any other answer, or none, says `otherwise` and ends."""
    try:
        agreed = yes or typer.confirm(question, default=False, err=True)
    except typer.Abort:
        note("\nno answer was given; --yes skips the question")
        agreed = False
    if not agreed:
        note(otherwise)
        raise typer.Exit(1)


def fail(error: "MelpaError") -> NoReturn:
    """Prints `error: ...` on stderr and ends with exit code 1."""
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(str(error), err=True)
    raise typer.Exit(1)


class Notes(logging.Handler):
    """What the library's log says, as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one record."""
        note(self.format(record))


def command(function: Function) -> Function:
    """Turns a MelpaError into one line and exit code 1, and Ctrl-C into exit code 130; shows the library's log."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        from mlx_melpa.errors import MelpaError

        log = logging.getLogger("mlx_melpa")
        if not any(isinstance(handler, Notes) for handler in log.handlers):
            log.addHandler(Notes())
            log.setLevel(logging.INFO)
        try:
            return function(*args, **kwargs)
        except MelpaError as error:
            fail(error)
        except KeyboardInterrupt:
            note("stopped")
            raise typer.Exit(130) from None

    return cast(Function, run)


@contextmanager
def progress(label: str, total: int | None = None, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Shows a bar with rate and time left; gives `advance(count=1, text="")`.

    Silent when `quiet` (pass the command's --json) or when stderr is not a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda count=1, text="": None
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[text]}"),
    )
    with bars.Progress(*columns, console=_screen(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, rate="", text="")

        def advance(count: int = 1, text: str = "") -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=count, text=text, rate=f"{speed:.3g}/s" if speed else "")

        yield advance
