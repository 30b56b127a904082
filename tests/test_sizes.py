"""Limits that keep the code readable: lengths of files and functions, parameters, and how often Any stands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE, FUNCTION, STRICT, PARAMETERS, ANY = 250, 60, 40, 7, 300
CAREFUL = ("mlx_melpa/personal/", "mlx_melpa/training/", "mlx_melpa/core/")
TABLES = {"mlx_melpa/data/simulated/topics.py"}
"""Tables of data, of any length."""
FOREIGN = {
    "cli/console.py": "what numbers of NumPy have",
    "cli/main.py": "a command by its module's name",
    "mlx_melpa/backends/machine.py": "what the system has",
    "mlx_melpa/backends/mlx/model.py": "a model of mlx-lm",
    "mlx_melpa/backends/mlx/patches.py": "functions of mlx",
    "mlx_melpa/backends/mlx/slots.py": "a layer of mlx-lm",
    "mlx_melpa/backends/torch/model.py": "a model of transformers",
    "mlx_melpa/data/prompts.py": "a tokenizer",
    "mlx_melpa/data/tokens.py": "a tokenizer",
    "mlx_melpa/exports/peft.py": "a model of transformers",
    "mlx_melpa/pocket/fit.py": "a number format of mlx",
    "mlx_melpa/readouts/labels.py": "a tokenizer",
    "mlx_melpa/store/database.py": "an error of SQLite",
    "mlx_melpa/tasks/hub.py": "a column of datasets",
}
"""Files that ask objects of others by name, and which."""


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def functions(*folders: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, text in sources(*folders):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
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
    """Left out are builders, whose parameters are the settings of kinds, and the one function that takes 8."""
    many = {}
    for name, node in functions("mlx_melpa"):
        builder = node.name in (Path(name).stem, "adapt_user")
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([each for each in names if each not in ("self", "cls")])
        if count > PARAMETERS and not builder:
            many[f"{name}:{node.lineno} {node.name}"] = count
    assert many == {}


def test_any_stays_rare() -> None:
    assert sum(len(re.findall(r"\bAny\b", text)) for _, text in sources("mlx_melpa", "cli")) <= ANY


def test_own_objects_are_not_asked_by_name() -> None:
    asked = re.compile(r"\b(?:getattr|hasattr)\(")
    found = {name for name, text in sources("mlx_melpa", "cli") if asked.search(text)}
    assert found == FOREIGN.keys()
