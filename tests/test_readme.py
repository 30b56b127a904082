"""The README's tree names every file, each with the first line of its own docstring."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("__pycache__", "base")


def phrase(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        return text.split("\n")[0].lstrip("# ").rstrip(".")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0].rstrip(".")


def entries(folder: Path, depth: int) -> list[tuple[str, str]]:
    found = [("  " * depth + folder.name + "/", phrase(folder / "__init__.py"))]
    for path in sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name)):
        if path.is_dir() and path.name not in LEFT_OUT:
            found += entries(path, depth + 1)
        elif path.suffix in (".py", ".yaml") and path.name != "__init__.py":
            found.append(("  " * (depth + 1) + path.name, phrase(path)))
    return found


def tree() -> str:
    """The tree as it stands; `python tests/test_readme.py` writes it into the README."""
    found = [entry for name in ("mlx_melpa", "cli", "recipes") for entry in entries(ROOT / name, 0)]
    wide = 2 + max(len(name) for name, _ in found)
    return "\n".join((name.ljust(wide) + text).rstrip() for name, text in found)


def between(readme: str) -> tuple[int, int]:
    start = readme.index("```\nmlx_melpa/") + 4
    return start, readme.index("\n```", start)


def test_the_readme_has_the_tree_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start, end = between(readme)
    assert readme[start:end] == tree(), "the tree has changed: run python tests/test_readme.py"


if __name__ == "__main__":
    file = ROOT / "README.md"
    old = file.read_text(encoding="utf-8")
    first, last = between(old)
    file.write_text(old[:first] + tree() + old[last:], encoding="utf-8")
