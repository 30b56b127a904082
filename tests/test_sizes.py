"""Limits that keep the code readable: lengths of files and functions, parameters, and how often Any stands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE, FUNCTION, STRICT, PARAMETERS, ANY = 250, 60, 40, 8, 300
CAREFUL = ("mlx_melpa/personal/", "mlx_melpa/training/", "mlx_melpa/core/")
TABLES = {"mlx_melpa/data/simulated/topics.py"}
"""Tables of data, of any length."""


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def functions(*folders: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for name, text in sources(*folders):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                yield name, node


def test_no_file_is_longer_than_a_few_screens() -> None:
    long = {name: text.count("\n") for name, text in sources("mlx_melpa", "cli") if name not in TABLES}
    assert {name: lines for name, lines in long.items() if lines > FILE} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{name}:{node.lineno} {node.name}": length
        for name, node in functions("mlx_melpa")
        if (length := node.end_lineno - node.lineno + 1) > (STRICT if name.startswith(CAREFUL) else FUNCTION)  # type: ignore[operator]
    }
    assert long == {}


def test_functions_take_few_parameters() -> None:
    """Settings of kinds are declared as parameters of their builders, which are left out."""
    many = {}
    for name, node in functions("mlx_melpa"):
        builder = node.name == Path(name).stem
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([each for each in names if each not in ("self", "cls")])
        if count > PARAMETERS and not builder:
            many[f"{name}:{node.lineno} {node.name}"] = count
    assert many == {}


def test_any_stays_rare() -> None:
    assert sum(len(re.findall(r"\bAny\b", text)) for _, text in sources("mlx_melpa", "cli")) <= ANY
