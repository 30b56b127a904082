"""A recipe of a small table of kinds, from its text."""

from pathlib import Path
from typing import Any

import pytest
from toys.recipes import TABLES

import mlx_melpa.config.recipe as recipe_module
from mlx_melpa.config import checks
from mlx_melpa.config.recipe import Recipe, load_recipe


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(recipe_module, "kinds", TABLES.__getitem__)
    monkeypatch.setattr(checks, "kinds", TABLES.__getitem__)
    monkeypatch.chdir(tmp_path)

    def loads(text: str, *sets: str) -> Recipe:
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        return load_recipe("r.yaml", sets)

    return loads
