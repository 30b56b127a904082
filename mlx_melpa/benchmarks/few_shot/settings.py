"""The settings of a few-shot benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config.kinds import kind_class
from ...config.recipe import Recipe
from ...errors import MelpaError
from ...evaluation.methods import METHODS
from ...evaluation.settings import CompareSettings
from ...evaluation.text_overlap import check_packages
from ...evaluation.unseen_tasks import TaskFiles


@dataclass(frozen=True)
class Settings:
    """The recipes and methods of a table, and the numbers of shots, seeds and episodes. Raises MelpaError.

    files: test tasks other than the recipes' own. generate: the number of test episodes for which a text is written,
    whose overlap with the user's own is measured. out: the folder of runs and results.
    """

    recipes: tuple[Recipe, ...]
    shots: tuple[int, ...] = (1, 5)
    seeds: int = 3
    episodes: int = CompareSettings.episodes
    tuning_episodes: int = CompareSettings.tuning_episodes
    ways: int | None = None
    queries: int | None = None
    files: TaskFiles | None = None
    generate: int = 0
    methods: tuple[str, ...] = tuple(METHODS)
    out: Path | None = None

    def __post_init__(self) -> None:
        names = [recipe.name for recipe in self.recipes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise MelpaError(
                f"two recipes are called {twice[0]}, and so would their results; rename one of the files, or write "
                f"another-name={twice[0]}"
            )
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods:
            problem = f"'{unknown[0]}' is no method" if unknown else "names no method"
            raise MelpaError(f"--methods: {problem}; choose from {', '.join(METHODS)}")
        for recipe in self.recipes:
            if any(recipe.name == method.title for method in METHODS.values()):
                raise MelpaError(f"a recipe can't be called {recipe.name}, as a method is; give it another name")
            if recipe.model is None:
                raise MelpaError(f"recipe {recipe.name} has no language model: few-shot compares adapters of one")

    def check_packages(self) -> None:
        """Raises MelpaError if a method needs a package that is not installed, before hours of work."""
        for name in self.methods:
            missing = METHODS[name].lacks_package()
            if missing:
                raise MelpaError(f"--methods: {name}: {missing}, or name others")
        if self.generate:
            check_packages()


def classifies(recipe: Recipe) -> bool:
    """True if the recipe's readout chooses among labels."""
    kind = recipe.kind("readout") or recipe.for_tasks(recipe.make("tasks")).kind("readout")
    return bool(kind_class("readout", kind).classifies)


def shots_of(text: Sequence[str]) -> tuple[int, ...]:
    """Numbers of shots as they were written; raises MelpaError."""
    if not text or not all(word.isdecimal() and int(word) for word in text):
        raise MelpaError(f"--shots: '{','.join(text)}' is no list of whole numbers from 1; write such as 1,5")
    return tuple(sorted({int(word) for word in text}))
