"""The layout of the code, held: levels, where frameworks may appear, kind = file = function, the packages."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "mlx_melpa"
LEVELS = {
    0: "errors __init__",
    1: "core",
    2: "data",
    3: "backends adapters tasks problems readouts initializers rules regularizers samplers learners",
    4: "config exports pocket",
    5: "store",
    6: "evaluation",
    7: "training verification personal",
    8: "recommendation",
    9: "benchmarks api",
}
LEVEL = {name: level for level, names in LEVELS.items() for name in names.split()}
PARTS = LEVELS[3].split()[1:]
FRAMEWORKS = {"mlx", "mlx_lm", "torch", "transformers"}
MAY_USE_FRAMEWORKS = {"backends", "exports", "benchmarks", "pocket"}
ALGORITHMS = {"rules", "learners", "initializers", "regularizers", "adapters", "adapt"}
# Common to mlx.core.array and torch.Tensor with one meaning.
ARRAY_METHODS = {"reshape", "sum", "mean", "max", "min", "abs", "square"}
CONTAINER_METHODS = {"append", "extend", "pop", "items", "keys", "values", "get", "join", "split", "format"}
CONTAINER_METHODS |= {"fromkeys", "endswith", "index", "rpartition"}
# Values whose methods are the project's own, or NumPy's before anything is differentiated.
OWN = {"self", "ops", "parts", "problem", "initializer", "rule", "regularizer", "adapt", "layout", "np", "rng", "site"}
OWN |= {"inner_loop", "memories", "reverse", "encoder", "writer", "scales", "ranks"}
ENGINE_ATTRIBUTES = {"T", "mT", "at", "grad", "data", "requires_grad", "item", "tolist", "astype", "detach", "numpy"}


class Import(NamedTuple):
    """One import: the absolute dotted name, which may end in what is taken from a module, and its line."""

    target: str
    line: int


def modules() -> Iterator[Path]:
    return (path for path in sorted(LIBRARY.rglob("*.py")))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> list[Import]:
    found = []
    package = ("mlx_melpa", *path.relative_to(LIBRARY).parts[:-1])
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            found += [Import(f"{source}.{alias.name}", node.lineno) for alias in node.names]
    return found


def target(name: str) -> str | None:
    """The module of the library that an import reaches, as a path from the library's folder; None for others."""
    head, *rest = name.split(".")
    if head != "mlx_melpa" or rest == ["__version__"]:
        return None
    while rest:
        here = LIBRARY.joinpath(*rest)
        if here.with_suffix(".py").is_file():
            return ".".join(rest)
        if here.is_dir():
            return ".".join([*rest, "__init__"])
        rest = rest[:-1]
    return "__init__"


def package(module: str) -> str:
    return module.split(".")[0]


def level(module: str) -> int:
    name = package(module)
    assert name in LEVEL, f"mlx_melpa/{name} has no level: give it a level in tests/test_levels.py"
    return LEVEL[name]


def edges() -> Iterator[tuple[str, str, str]]:
    """(module, module that it imports, place)."""
    for path in modules():
        for found in imports(path):
            reached = target(found.target)
            if reached is not None:
                yield dotted(path), reached, f"{path.relative_to(ROOT)}:{found.line}"


def test_a_module_imports_from_its_own_package_or_from_a_lower_level() -> None:
    wrong = [
        f"{place}: {package(module)}, level {level(module)}, imports {reached}, level {level(reached)}"
        for module, reached, place in edges()
        if package(module) != package(reached) and level(reached) >= level(module)
    ]
    assert wrong == []


def test_no_module_imports_itself_over_others() -> None:
    graph: dict[str, set[str]] = {}
    for module, reached, _ in edges():
        if not (reached.endswith("__init__") and module.startswith(reached.removesuffix("__init__"))):
            graph.setdefault(module, set()).add(reached)
    done: set[str] = set()

    def visit(module: str, around: tuple[str, ...]) -> None:
        assert module not in around, " imports ".join([*around[around.index(module) :], module])
        if module not in done:
            for reached in sorted(graph.get(module, ())):
                visit(reached, (*around, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_frameworks_appear_only_where_engines_are() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{found.line}: {found.target}"
        for path in modules()
        for found in imports(path)
        if found.target.split(".")[0] in FRAMEWORKS and package(dotted(path)) not in MAY_USE_FRAMEWORKS
    ]
    assert wrong == []


def test_nothing_imports_the_command_line() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{found.line}"
        for path in modules()
        for found in imports(path)
        if found.target.split(".")[0] in {"cli", "melpa_cli"}
    ]
    assert wrong == []


def test_commands_import_the_library_inside_their_functions() -> None:
    """But for a module `settings`, whose defaults are those of a command's options; it imports no engine."""
    heavy = {"mlx_melpa", "numpy", "datasets", "yaml", *FRAMEWORKS}
    wrong = []
    for path in sorted((ROOT / "cli").glob("*.py")):
        for node in parsed(path).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            late = [name for name in names if name.split(".")[0] in heavy and not name.endswith(".settings")]
            wrong += [f"cli/{path.name}:{node.lineno}: {name}" for name in late]
    assert wrong == []


def test_only_the_console_prints() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*modules(), *sorted((ROOT / "cli").glob("*.py"))]
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", [name for name in PARTS if (LIBRARY / name).is_dir()])
def test_kind_is_file_is_function(folder: str) -> None:
    assert (LIBRARY / folder / "__init__.py").is_file(), f"mlx_melpa/{folder} has no table"
    table = import_module(f"mlx_melpa.{folder}").KINDS
    assert table
    for kind, builder in table.items():
        if table.get(builder.__name__) is builder:
            kind = builder.__name__  # an earlier name of the kind
        assert (builder.__name__, builder.__module__) == (kind, f"mlx_melpa.{folder}.{kind}")


def algorithms() -> Iterator[Path]:
    return (path for path in modules() if dotted(path).split(".")[0] in ALGORITHMS)


def owner(node: ast.expr) -> str:
    """The last name before a method: `ops` of `self.ops.sqrt`, `` of `(a + b).sum`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        return "self" if owner(node.func) == "super" else ""
    return node.id if isinstance(node, ast.Name) else ""


def test_algorithms_use_only_what_the_engines_share() -> None:
    wrong = []
    for path in algorithms():
        tree = parsed(path)
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or owner(node.value) in OWN:
                continue
            shared = node.attr in ARRAY_METHODS | CONTAINER_METHODS if id(node) in called else True
            if not shared or node.attr in ENGINE_ATTRIBUTES:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: .{node.attr}")
    assert wrong == [], "use the ops object, or add what both engines share to ARRAY_METHODS"


def test_every_package_is_packaged() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in LIBRARY.rglob("__init__.py")}
    assert sorted(listed) == sorted({"melpa_cli", "melpa_recipes", *there}), "write it into pyproject.toml"
