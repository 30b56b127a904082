"""The command `melpa`: quick to answer, readable, and every command of the table there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import melpa_cli
import numpy as np
import pytest
import typer
from melpa_cli import console
from melpa_cli.main import CHECKS, COMMANDS, MAIN, USER, app, load
from typer.testing import CliRunner

from mlx_melpa import __version__
from mlx_melpa.errors import MelpaError

run = CliRunner().invoke
FOLDER = Path(melpa_cli.__path__[0])
START = [sys.executable, "-c", "from melpa_cli.main import app; app(prog_name='melpa')"]


def test_help_names_every_command_in_its_panel() -> None:
    shown = run(app, ["--help"]).stdout
    assert shown.index(MAIN) < shown.index(USER) < shown.index(CHECKS)
    for name, entry in COMMANDS.items():
        assert shown.index(entry.panel) < shown.index(f"│ {name} ") < shown.index(entry.help)
    assert run(app, []).stdout.strip() == shown.strip()


def test_help_is_quick_and_imports_no_array_library() -> None:
    engines, arrays = {"mlx", "mlx_lm", "torch", "transformers"}, {"numpy", "sqlite3"}
    for words, absent in ((["--help"], engines | arrays), (["bench", "--help"], engines)):
        code = f"import sys, melpa_cli.main as m; m.app({words}, standalone_mode=False); print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert not absent & set(loaded) and "typer" in loaded
    seconds = []
    for _ in range(5):
        before = os.times()
        subprocess.run([*START, "--help"], capture_output=True, check=True)
        now = os.times()  # its own processor time: what else runs here says nothing about it
        seconds.append(now.children_user + now.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.3  # 0.11 where measured


def test_version() -> None:
    assert run(app, ["--version"]).stdout == f"melpa {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_imports_and_has_help(name: str) -> None:
    assert load(name).name == name
    shown = run(app, [name, "--help"])
    assert shown.exit_code == 0 and f" {name} " in shown.stdout
    assert "--no-" not in shown.stdout  # a flag that is off needs no second name, which squeezes every column


def test_every_file_is_a_command_of_the_table() -> None:
    own = {"__init__", "__main__", "main", "console", "options", "adapt_users"}
    own |= {"bench_continual", "bench_daily", "bench_few_shot"}
    assert {file.stem for file in FOLDER.glob("*.py")} - own <= {entry.module for entry in COMMANDS.values()}


def test_an_unknown_command_gets_a_suggestion() -> None:
    failed = run(app, ["exprt"])
    assert failed.exit_code == 2 and "Did you mean 'export'?" in failed.stderr


@pytest.mark.parametrize(("words", "found"), [("melpa meta", ["meta-train"]), ("melpa users ro", ["rollback"])])
def test_completion_knows_commands_and_those_below(words: str, found: list[str]) -> None:
    wanted = {"_MELPA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(START, env=wanted, capture_output=True, text=True)
    assert done.stdout.split() == found


def test_errors_become_a_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    @console.command
    def fails() -> None:
        raise MelpaError("no [bold]thing[/bold]; run: melpa doctor")

    @console.command
    def stopped() -> None:
        raise KeyboardInterrupt

    for function, code, text in (
        (fails, 1, "error: no [bold]thing[/bold]; run: melpa doctor\n"),
        (stopped, 130, "stopped\n"),
    ):
        with pytest.raises(typer.Exit) as ended:
            function()
        shown = capsys.readouterr()
        assert (ended.value.exit_code, shown.out, shown.err) == (code, "", text)


def test_results_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.out("[red]x[/red] :smile:")
    console.json_out({"path": Path("a/b"), "number": np.float32(0.5), "list": np.arange(2), "text": "ü"})
    text, document = capsys.readouterr().out.split("\n", 1)
    assert text == "[red]x[/red] :smile:"
    assert json.loads(document) == {"path": "a/b", "number": 0.5, "list": [0, 1], "text": "ü"}
    console.table(("name", "count"), [("y" * 150, 1234567), (None, 2)])
    shown = capsys.readouterr().out
    assert "y" * 150 in shown and "1,234,567" in shown and "None" not in shown


def test_sizes_are_readable() -> None:
    assert [console.size(n) for n in (0, 999, 1000, 282_704, 3_100_000, 5 * 10**9)] == [
        *("0 B", "999 B", "1.0 kB", "282.7 kB", "3.1 MB", "5.0 GB")
    ]
    assert console.when(0.0, iso=True) == "1970-01-01T00:00:00+00:00"


def test_progress_is_silent_away_from_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("adapting", total=3) as advance:
        advance()
        advance(2, text="loss 1.5")
    assert capsys.readouterr() == ("", "")
