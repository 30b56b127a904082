"""The measurements of a few-shot benchmark, and the runs that they need."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from ...config.recipe import Recipe
from ...errors import MelpaError
from ...evaluation.baselines.multi_task import multi_task
from ...evaluation.methods import BEST, METHODS, SAME
from .settings import Settings, classifies


@dataclass(frozen=True)
class Setting:
    """Recipes with the same base, adapter and readout; their baselines are measured once.

    recipe: one of them. steps: their numbers of inner steps.
    """

    recipe: Recipe
    steps: tuple[int, ...]

    @property
    def key(self) -> str:
        """The name of the setting, the same for all its recipes."""
        shared = {key: self.recipe.resolved[key] for key in ("model", "adapter", "readout", "backend")}
        shared["start"] = multi_task(self.recipe).resolved["initializer"]
        return sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:6]


class Measurement(NamedTuple):
    """One method on the test episodes: a recipe's run, or a baseline of a setting.

    of: the recipe's name, or the setting's key. steps: of baselines that take some; None for their best number.
    """

    method: str
    of: str
    shots: int
    seed: int
    steps: int | None = 0

    @property
    def name(self) -> str:
        """The method without shots and seed, as files are named."""
        if self.method == "meta":
            return self.of
        steps = f"-{'best' if self.steps is None else self.steps}" if METHODS[self.method].tunes_steps else ""
        return f"{self.method}-{self.of}{steps}"

    @property
    def key(self) -> str:
        """The key of its result."""
        return f"results/{self.name}.{self.shots}.seed{self.seed}"

    @property
    def run(self) -> str:
        """The run that it is measured with; empty if it needs none."""
        if self.method == "meta":
            return f"{self.of}.seed{self.seed}"
        return f"multi_task-{self.of}.seed{self.seed}" if self.method == "multi_task" else ""

    @property
    def subject(self) -> str:
        """What is loaded for it: its run, or the base and adapter of its setting."""
        return self.run or self.of

    @property
    def variant(self) -> str:
        """The variant of the method's tuned settings."""
        return BEST if self.steps is None else SAME


class Jobs:
    """What a benchmark has to do: `settings_by_key`, `measurements`, and `runs` to train, by name.

    Raises MelpaError if there is nothing to measure, or if text is to be generated where labels are chosen.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.settings_by_key = _settings_by_key(settings.recipes)
        self.classifies = {key: classifies(each.recipe) for key, each in self.settings_by_key.items()}
        if settings.generate and any(self.classifies.values()):
            raise MelpaError("--generate: the recipes give labels, and nothing is written; leave it out")
        self.measurements = [*self._baselines(), *self._of_recipes()]
        if not self.measurements:
            named = ", ".join(settings.methods)
            raise MelpaError(f"--methods: {named} need labels, and the tasks have none; name others")
        self.runs = self._runs()

    def setting_of(self, measurement: Measurement) -> str:
        """The key of the setting of a measurement."""
        if measurement.method != "meta":
            return measurement.of
        recipe = next(recipe for recipe in self.settings.recipes if recipe.name == measurement.of)
        return Setting(recipe, ()).key

    def title(self, measurement: Measurement) -> str:
        """A method's name in tables, with a recipe of its setting if there are several settings."""
        if measurement.method == "meta":
            return measurement.of
        method, steps = METHODS[measurement.method], measurement.steps
        several = len(self.settings_by_key) > 1
        where = f" ({self.settings_by_key[measurement.of].recipe.name})" if several else ""
        count = f", {'best' if steps is None else steps} steps" if method.tunes_steps else ""
        return f"{method.title}{count}{where}"

    @property
    def left_out(self) -> list[str]:
        """Titles of the methods that could stand in the table and were not chosen."""
        labels = any(self.classifies.values())
        possible = [
            m for m in METHODS.values() if m.name not in self.settings.methods and (labels or not m.needs_labels)
        ]
        return ["the recipes" if method.name == "meta" else method.title for method in possible]

    def _baselines(self) -> list[Measurement]:
        found = []
        chosen = [m for m in METHODS.values() if m.name in self.settings.methods and m.name != "meta"]
        for key, setting in self.settings_by_key.items():
            for method in chosen:
                if method.needs_labels and not self.classifies[key]:
                    continue
                steps: tuple[int | None, ...] = (*setting.steps, None) if method.tunes_steps else (0,)
                trained = method.name == "multi_task"
                for count in (0, *steps) if trained else steps:
                    found += self._over_seeds(method.name, key, count, self.settings.seeds if trained else 1)
        return found

    def _of_recipes(self) -> list[Measurement]:
        recipes = self.settings.recipes if "meta" in self.settings.methods else ()
        return [m for recipe in recipes for m in self._over_seeds("meta", recipe.name, 0, self.settings.seeds)]

    def _over_seeds(self, method: str, of: str, steps: int | None, seeds: int) -> list[Measurement]:
        return [Measurement(method, of, n, seed, steps) for n in self.settings.shots for seed in range(seeds)]

    def _runs(self) -> dict[str, Recipe]:
        """Recipes with their seeds; multi-task runs come first."""
        every: dict[str, Recipe] = {}
        if "multi_task" in self.settings.methods:
            every |= {f"multi_task-{key}": multi_task(each.recipe) for key, each in self.settings_by_key.items()}
        if "meta" in self.settings.methods:
            every |= {recipe.name: recipe for recipe in self.settings.recipes}
        return {
            f"{name}.seed{seed}": recipe.replace(train={**recipe.resolved["train"], "seed": seed})
            for name, recipe in every.items()
            for seed in range(self.settings.seeds)
        }


def _settings_by_key(recipes: tuple[Recipe, ...]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for recipe in recipes:
        setting = Setting(recipe, (recipe.steps,) if recipe.steps else ())
        known = found.setdefault(setting.key, setting)
        found[setting.key] = replace(known, steps=tuple(sorted({*known.steps, *setting.steps})))
    return found
