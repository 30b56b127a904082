"""An engine that is not installed is said in a sentence, with what to do."""

import sys

import pytest

from mlx_melpa.compose import engine, on_backend
from mlx_melpa.errors import MelpaError
from mlx_melpa.recipe import load_recipe


def test_a_missing_engine_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx_melpa.backends.torch.ops", None)
    with pytest.raises(
        MelpaError, match=r"backend torch can't be used here .*'mlx-melpa\[torch\]', or take --backend mlx"
    ):
        engine("torch")


def test_a_recipe_goes_to_another_engine_unchanged() -> None:
    recipe = load_recipe("quickstart")
    moved = on_backend(recipe, "torch")
    assert moved.resolved == {**recipe.resolved, "backend": "torch"} and recipe.resolved["backend"] == "mlx"
    assert on_backend(recipe, None) is recipe
