"""The README's tree names every folder of the source with its docstring's first line, and the README stays short."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES = 120
LOWEST_FIRST = [
    "core",
    "data",
    "backends",
    "adapters",
    "tasks",
    "problems",
    "readouts",
    "initializers",
    "rules",
    "regularizers",
    "samplers",
    "learners",
    "config",
    "exports",
    "pocket",
    "store",
    "evaluation",
    "training",
    "verification",
    "personal",
    "recommendation",
    "benchmarks",
]
OTHERS = {"tests": "Tests, in the tree of the source", "docs": "Documentation: first steps, concepts, results"}


def phrase(folder: Path) -> str:
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0].rstrip(".")


def tree() -> str:
    """The tree as it stands, the lowest level first; `python tests/test_readme.py` writes it into the README."""
    library = ROOT / "mlx_melpa"
    entries = [("mlx_melpa/", phrase(library))]
    entries += [(f"  {name}/", phrase(library / name)) for name in LOWEST_FIRST]
    entries += [(f"{name}/", phrase(ROOT / name)) for name in ("cli", "recipes")]
    entries += [(f"{name}/", text) for name, text in OTHERS.items()]
    wide = 2 + max(len(name) for name, _ in entries)
    return "\n".join(name.ljust(wide) + text for name, text in entries)


def between(readme: str) -> tuple[int, int]:
    start = readme.index("```\nmlx_melpa/") + 4
    return start, readme.index("\n```", start)


def test_the_readme_has_the_tree_as_it_is() -> None:
    folders = {path.parent.name for path in (ROOT / "mlx_melpa").glob("*/__init__.py")}
    assert folders == set(LOWEST_FIRST), "a folder came or went: name it in LOWEST_FIRST"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start, end = between(readme)
    assert readme[start:end] == tree(), "the tree has changed: run python tests/test_readme.py"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


if __name__ == "__main__":
    file = ROOT / "README.md"
    old = file.read_text(encoding="utf-8")
    first, last = between(old)
    file.write_text(old[:first] + tree() + old[last:], encoding="utf-8")
