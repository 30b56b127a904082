"""docs/code-map.md names every source file with the first line of its docstring."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "code-map.md"
HEAD = """# Code map

Every source file with the first line of its docstring. `python tests/test_code_map.py` writes this page.
A folder imports only from itself and from folders of a lower level (`tests/test_levels.py`). A key of a recipe is a
folder, and a kind is a file: `learner: maml` is `mlx_melpa/learners/maml.py::maml`.
"""


def phrase(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        return text.split("\n")[0].lstrip("# ").rstrip(".")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0].rstrip(".")


def section(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".py", ".yaml") and path.stem != "__init__")
    lines = [f"- `{path.name}`: {phrase(path)}" for path in files]
    return "\n".join([f"\n## {folder.relative_to(ROOT)}/\n", phrase(folder / "__init__.py") + ".", "", *lines])


def code_map() -> str:
    folders = [path.parent for name in ("mlx_melpa", "cli", "recipes") for path in (ROOT / name).rglob("__init__.py")]
    return "\n".join([HEAD.rstrip(), *map(section, sorted(folders))]).rstrip() + "\n"


def test_the_code_map_is_that_of_the_source() -> None:
    assert FILE.read_text(encoding="utf-8") == code_map(), "files have changed: run python tests/test_code_map.py"


if __name__ == "__main__":
    FILE.write_text(code_map(), encoding="utf-8")
