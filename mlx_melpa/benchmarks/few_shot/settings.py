"""What a few-shot benchmark is told: recipes, shots, seeds, episodes; and the jobs that come of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ...config.kinds import kind_class
from ...config.recipe import Recipe
from ...errors import MelpaError
from ...evaluation import compare as baselines
from ...evaluation import curves as evaluate
from ...evaluation import text_overlap as overlap
from ...evaluation.baselines import frozen_features as frozen
from ...evaluation.baselines.multi_task import multi_task

FEATURES = tuple(frozen.METHODS)
"""Baselines that classify the base's features, and need labels for it."""
TITLES = {name: title for name, title in baselines.METHODS.items() if name != "meta"} | {"multi_task": "multi-task"}
METHODS = (*TITLES, "meta")
"""All that can stand in a table: the baselines, and the recipes' own runs."""
STEPPED = ("random_start", "multi_task")
"""Baselines that take steps of Adam: as many as the recipes, and their best number."""


@dataclass(frozen=True)
class Ground:
    """Recipes with one base, adapter and readout, which share their baselines; `steps` are those of the recipes."""

    recipe: Recipe
    steps: tuple[int, ...]

    @property
    def key(self) -> str:
        """Names the ground, whatever recipes stand on it."""
        shared = {key: self.recipe.resolved[key] for key in ("model", "adapter", "readout", "backend")}
        shared["start"] = multi_task(self.recipe).resolved["initializer"]
        return sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:6]


class Job(NamedTuple):
    """One method on the test episodes: a recipe's run, or a baseline of a ground at `steps` (None: its best)."""

    method: str
    of: str
    shots: int
    seed: int
    steps: int | None = None

    @property
    def name(self) -> str:
        """The method without shots and seed, as files are named."""
        if self.method == "meta":
            return self.of
        steps = "best" if self.steps is None else self.steps
        return f"{self.method}-{self.of}{f'-{steps}' if self.method in STEPPED else ''}"

    @property
    def file(self) -> str:
        """The name of its result."""
        return f"{self.name}.{self.shots}.seed{self.seed}.json"


@dataclass(frozen=True)
class Drawn:
    """The episodes of one number of shots: to be judged on, and to tune baselines on; and notes on their making."""

    test: list[Any]
    checks: list[Any]
    notes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all that is asked."""
        return sha256(repr((self.test, self.checks)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Settings:
    """What is measured. `tasks`: a file of other test tasks than the recipes' own. `out`: where all is kept.

    `generate`: how many of the test episodes get a text written, which is held against the person's own words.
    `methods`: those of METHODS that stand in the table.
    """

    recipes: tuple[Recipe, ...]
    shots: tuple[int, ...] = (1, 5)
    seeds: int = 3
    episodes: int = 600
    tuning_episodes: int = baselines.VALIDATION
    ways: int | None = None
    queries: int | None = None
    tasks: str | None = None
    group: str | None = None
    label: str | None = None
    generate: int = 0
    methods: tuple[str, ...] = METHODS
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
            told = f"'{unknown[0]}' is no method" if unknown else "names no method"
            raise MelpaError(f"--methods: {told}; choose from {', '.join(METHODS)}")
        for recipe in self.recipes:
            if recipe.name in TITLES.values():
                raise MelpaError(f"a recipe can't be called {recipe.name}, as a baseline is; give it another name")
            if recipe.model is None:
                raise MelpaError(f"recipe {recipe.name} has no language model: few-shot compares adapters of one")
        if self.generate and any(self.classifies(ground) for ground in self.grounds.values()):
            raise MelpaError("--generate: the recipes give labels, and nothing is written; leave it out")
        if self.generate:
            overlap.check_packages()

    def draw(self, recipe: Recipe, shots: int) -> Drawn:
        """A recipe's test and validation episodes, the same for each call."""
        sizes = {"ways": self.ways, "shots": shots, "queries": self.queries}
        splits = recipe.make("tasks")
        held, sized, notes = baselines.tasks_for(
            recipe, splits.training_hashes, self.tasks, group=self.group, label=self.label, **sizes
        )
        checks = evaluate.episodes(sized.validation, self.tuning_episodes, baselines.APART)
        return Drawn(evaluate.episodes(held, self.episodes, 0), checks, tuple(dict.fromkeys((*notes, *sized.notes))))

    @cached_property
    def drawn(self) -> dict[int, Drawn]:
        """The episodes of all recipes by shots; raises MelpaError where two recipes draw others."""
        first, *others = self.recipes
        found = {shots: self.draw(first, shots) for shots in self.shots}
        for recipe in others:
            for shots, drawn in found.items():
                if self.draw(recipe, shots).test != drawn.test:
                    raise MelpaError(
                        f"recipes {first.name} and {recipe.name} draw other test episodes at {shots} shots; give them "
                        "the same tasks.hold_out, and --ways and --queries, or run each with an --out of its own"
                    )
        return found

    @cached_property
    def grounds(self) -> dict[str, Ground]:
        """What baselines stand on, by key."""
        found: dict[str, Ground] = {}
        for recipe in self.recipes:
            steps = recipe.steps
            ground = Ground(recipe, (steps,) if steps else ())
            known = found.setdefault(ground.key, ground)
            found[ground.key] = replace(known, steps=tuple(sorted({*known.steps, *ground.steps})))
        return found

    def ground_of(self, job: Job) -> str:
        """The key of the ground that a method stands on."""
        recipe = next((recipe for recipe in self.recipes if job.method == "meta" and recipe.name == job.of), None)
        return job.of if recipe is None else Ground(recipe, ()).key

    def classifies(self, ground: Ground) -> bool:
        """True if the readout gives labels."""
        return kind_class("readout", ground.recipe.for_tasks(ground.recipe.make("tasks")).kind("readout")).classifies

    @cached_property
    def jobs(self) -> list[Job]:
        """All that is measured: the baselines of each ground, then the recipes; raises MelpaError for nothing."""
        found = []
        for key, ground in self.grounds.items():
            for name in TITLES:
                if name not in self.methods or (name in FEATURES and not self.classifies(ground)):
                    continue
                steps: tuple[int | None, ...] = (*ground.steps, None) if name in STEPPED else (0,)
                steps = (0, *steps) if name == "multi_task" else steps
                seeds = self.seeds if name == "multi_task" else 1
                found += [Job(name, key, n, seed, k) for k in steps for n in self.shots for seed in range(seeds)]
        for recipe in self.recipes if "meta" in self.methods else ():
            found += [Job("meta", recipe.name, n, seed) for n in self.shots for seed in range(self.seeds)]
        if not found:
            raise MelpaError(f"--methods: {', '.join(self.methods)} need labels, and the tasks have none; name others")
        return found

    def title(self, job: Job) -> str:
        """A method's name for people; a baseline tells its ground by a recipe's name where there are several."""
        if job.method == "meta":
            return job.of
        where = f" ({self.grounds[job.of].recipe.name})" if len(self.grounds) > 1 else ""
        steps = "best steps" if job.steps is None else f"{job.steps} steps"
        return f"{TITLES[job.method]}{f', {steps}' if job.method in STEPPED else ''}{where}"

    @property
    def left_out(self) -> list[str]:
        """Titles of what `methods` leaves out of the table, where it could stand there."""
        possible = any(self.classifies(ground) for ground in self.grounds.values())
        every = {**TITLES, "meta": "the recipes"}
        return [every[n] for n in every if n not in self.methods and (possible or n not in FEATURES)]

    def runs(self) -> dict[str, tuple[Recipe, int]]:
        """All runs to train, by name: a recipe and its seed; multi-task runs of the grounds come first."""
        every: dict[str, Recipe] = {}
        if "multi_task" in self.methods:
            every |= {f"multi_task-{key}": multi_task(ground.recipe) for key, ground in self.grounds.items()}
        if "meta" in self.methods:
            every |= {recipe.name: recipe for recipe in self.recipes}
        return {f"{name}.seed{seed}": (recipe, seed) for name, recipe in every.items() for seed in range(self.seeds)}

    def identity(self) -> dict[str, Any]:
        """What results of one folder have in common."""
        drawn = {str(shots): drawn.fingerprint for shots, drawn in self.drawn.items()}
        return {"episodes": self.episodes, "tuning_episodes": self.tuning_episodes, "drawn": drawn}


def shots_of(text: Sequence[str]) -> tuple[int, ...]:
    """Numbers of shots as they were written; raises MelpaError."""
    if not text or not all(word.isdecimal() and int(word) for word in text):
        raise MelpaError(f"--shots: '{','.join(text)}' is no list of whole numbers from 1; write such as 1,5")
    return tuple(sorted({int(word) for word in text}))
