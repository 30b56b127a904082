"""docs/recipes.md lists the packaged recipes, and every key, kind and setting from its docstring."""

from pathlib import Path

from mlx_melpa.config.explain import reference
from mlx_melpa.config.recipe import packaged

FILE = Path(__file__).parents[1] / "docs" / "recipes.md"
HEAD = """# Recipes

A recipe is a YAML file that names a base model, the parts and the training.

| command | what it does |
|---|---|
| `melpa recipes` | lists the packaged recipes |
| `melpa recipes NAME --copy mine.yaml` | copies one |
| `melpa validate mine.yaml` | checks it and shows every setting |
| `melpa meta-train mine.yaml --out runs/mine` | trains it; `--set train.iterations=50` changes a setting |
| `melpa explain NAME` | prints a section of the reference below |

The reference is generated from the code: `python tests/test_recipes_page.py` writes this page.

## Packaged recipes

"""


def page() -> str:
    """The page as it stands."""
    first = {name: path.read_text(encoding="utf-8").split("\n")[0] for name, path in packaged().items()}
    rows = [f"| `{name}` | {line.lstrip('# ').rstrip('.')} |" for name, line in first.items()]
    table = "\n".join(["| recipe | what it is |", "|---|---|", *rows])
    return HEAD + table + "\n\n" + reference()


def test_the_page_is_that_of_the_docstrings() -> None:
    assert FILE.read_text(encoding="utf-8") == page(), "docstrings have changed: run python tests/test_recipes_page.py"


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
