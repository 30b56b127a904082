"""An engine that is not installed is said in a sentence, with what to do."""

import sys

import pytest

from mlx_melpa.config.build import engine, on_backend, part_of
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.errors import MelpaError


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


def test_the_engines_offer_the_same_names() -> None:
    pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    first, second = (vars(part_of(name, "ops")) for name in ("mlx", "torch"))
    for one, other in ((first, second), (second, first)):
        own = {n for n, v in one.items() if str(getattr(v, "__module__", "")).startswith("mlx_melpa")}
        # rounding of a base is only asked about where peft's logits are compared
        assert {n for n in own if not n.startswith("_")} - other.keys() <= {"precision"}
    for place in ("model.Base", "adapted.Adapted"):
        file, name = place.split(".")
        offered = [dir(getattr(part_of(engine, file), name)) for engine in ("mlx", "torch")]
        assert {n for n in set(offered[0]) ^ set(offered[1]) if not n.startswith("_")} == set()
