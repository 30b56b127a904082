"""Names of version 0.1 in recipes."""

from pathlib import Path

import pytest

from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.errors import RecipeError


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("tasks", "{kind: synthetic, kind_of: style}", "variant"),
        ("tasks", "{kind: at_hand, files: a.jsonl}", "mixed"),
        ("readout", "{kind: ridge, primed: 3}", "metric_episodes"),
        ("initializer", "prototype", "proto_head"),
    ],
)
def test_a_name_of_version_0_1_is_one_fault_that_says_the_new_one(key: str, old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    parts = {"tasks": "synthetic", key: old}
    lines = "".join(f"{part}: {value}\n" for part, value in parts.items())
    path.write_text(f"model: pocket\nadapter: lora\nlearner: fomaml\n{lines}")
    with pytest.raises(RecipeError, match=rf"(?s)one fault in recipe .*{new}' since version 0\.2"):
        load_recipe(path)
    (tmp_path / "run.json").write_text('{"melpa": "0.1.3"}')
    assert new in {*load_recipe(path).resolved[key], load_recipe(path).kind(key)}
