"""Variants of recipes, with a name and changed keys: NAME=RECIPE,KEY=VALUE,KEY=VALUE"""

import re
from collections.abc import Sequence
from dataclasses import replace
from os.path import expanduser, isfile

from ...config.recipe import Recipe, load_recipe
from ...errors import RecipeError

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_BEFORE_QUOTES = "=,:[{ \"'"
"""A quote begins after one of these, or at the start; elsewhere it is an apostrophe."""


def load(text: str, sets: Sequence[str] = ()) -> Recipe:
    """The recipe that `text` names, a file or a packaged one, or a variant of it, whose own keys come after `sets`.

    A variant is "no-curriculum=gb-moa,sampler=uniform,train.iterations=50"; its keys are those of `--set`. Raises
    RecipeError, which names the variant.
    """
    name, equals, rest = text.partition("=")
    if not equals or isfile(expanduser(text)):  # pathlib raises if a name is too long for one
        return load_recipe(text, sets)
    recipe, *own = split(rest)
    if not _NAME.fullmatch(name) or not recipe:
        raise RecipeError(f"'{text}': a variant is NAME=RECIPE,KEY=VALUE; its name has letters, digits, - and _ only")
    try:
        return replace(load_recipe(recipe, (*sets, *own)), name=name)
    except RecipeError as error:
        raise RecipeError(f"variant {name}: {error}") from None


def split(text: str) -> list[str]:
    """The parts between commas that stand in no brackets, braces or quotes."""
    parts, depth, quote, before = [""], 0, "", "="
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and before in _BEFORE_QUOTES:
            quote = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
        before = letter
    return parts
