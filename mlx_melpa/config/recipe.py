"""Recipes: the parts of a run, read from YAML and checked by the signatures of their builders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml

from ..core.layout import Layout
from ..core.types import Splits
from ..errors import RecipeError
from .checks import check_parts, untrained
from .kinds import FOLDERS, kind_class, kinds
from .renamed import of_version_0_1, rename
from .schema import Complain, build, did_you_mean, read_part, read_settings, read_value, show
from .train_settings import TrainSettings
from .yaml_document import Document, KeyPath, Place, Value, read_document

KEYS = ("model", *FOLDERS, "train", "backend")
DEFAULTS = {"initializer": "universal", "rule": "sgd", "regularizer": "none", "sampler": "uniform"}
BACKEND = Literal["mlx", "torch"]
FILES = (("model",), ("tasks", "train"), ("tasks", "test"), ("tasks", "name"), ("tasks", "files"))
"""Keys whose text may be a path, relative to the working directory or else to the recipe's folder."""


class Fault(NamedTuple):
    """One fault of a recipe, and its place."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"


class InvalidRecipe(RecipeError):
    """All faults of a recipe at once."""

    def __init__(self, name: str, faults: Sequence[Fault]):
        self.faults = sorted(faults, key=lambda fault: (fault.place.line is None, fault.place.line or 0))
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{count} in recipe {name}", *(f"  {fault}" for fault in self.faults)]))


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    resolved: every key and setting written out, defaults included; a run stores it.
    """

    name: str
    resolved: dict[str, Value]

    @property
    def model(self) -> str | None:
        """The base model, by name or folder; None for problems with a network of their own."""
        return self.resolved["model"]

    @property
    def backend(self) -> str:
        """The engine: mlx or torch."""
        return self.resolved["backend"]

    @cached_property
    def train(self) -> TrainSettings:
        """The settings of meta-training."""
        return TrainSettings(**self.resolved["train"])

    @property
    def steps(self) -> int:
        """The learner's number of inner steps; 0 where it takes none."""
        return int(self.settings("learner").get("steps", 0))

    @property
    def context(self) -> str:
        """The input of the initializer: support, description or both."""
        return str(self.settings("initializer").get("context", "support"))

    def kind(self, part: str) -> str:
        """The kind of a part; "" where the recipe has none."""
        return self.resolved[part]["kind"] if self.resolved[part] else ""

    def settings(self, part: str) -> dict[str, Value]:
        """The settings of a part by name, without its kind."""
        return {name: value for name, value in (self.resolved[part] or {}).items() if name != "kind"}

    def make(self, part: str, *given: object) -> Any:
        """Calls the builder of a part with its settings; `given` are what the setup gives it.

        Raises RecipeError where the recipe has no such part.
        """
        kind = self.kind(part)
        if not kind:
            raise RecipeError(f"recipe {self.name} has no {part}; add the key '{part}' to it")
        return build(kinds(part)[kind], given, self.settings(part))

    def replace(self, **keys: Value) -> "Recipe":
        """The same recipe with some of its resolved keys replaced."""
        return Recipe(self.name, {**self.resolved, **keys})

    def with_readout(self, kind: str) -> "Recipe":
        """The same recipe with a readout of a kind and its default settings, unless it names one or needs none."""
        if self.model is None or self.resolved["readout"]:
            return self
        # the defaults of a kind have no faults to complain of
        return self.replace(readout=read_part(kind, kinds("readout"), ("readout",), lambda *_: None))

    def for_tasks(self, splits: Splits) -> "Recipe":
        """The same recipe with its readout named: prototypes where the tasks have labels, else completion."""
        episode = splits.train.episode(np.random.default_rng(0)) if self.model else None
        return self.with_readout("prototypes" if episode and episode.labels else "completion")

    def check_trains(self, learner: Any, **parts: Any) -> None:
        """Refuses a built learner together with a learnable rule or regularizer that it can't train (RecipeError)."""
        for name, part in parts.items():
            if part.learnable and name not in learner.trains:
                raise RecipeError(f"recipe {self.name}: {name}: {untrained(self.resolved, learner.trains, name)}")

    def frozen_layout(self, layout: Layout) -> Layout:
        """The layout with the weights that the inner steps do not update marked as shared; raises RecipeError."""
        frozen: Layout = kind_class("learner", self.kind("learner")).freeze(layout, self.settings("learner"))
        return frozen

    def dump(self) -> str:
        """The resolved recipe as YAML, which loads to the same recipe."""
        return yaml.safe_dump(self.resolved, sort_keys=False, allow_unicode=True)


Changes = Sequence[str] | Mapping[str, object]
"""Changes to a recipe: "train.iterations=50", with the value as YAML, or {"train.iterations": 50}."""


def load_recipe(path_or_name: str | Path, sets: Changes = ()) -> Recipe:
    """Reads and checks a recipe, a file or the name of a packaged one, with changes.

    Raises RecipeError, with every fault at once: file, line, key, value, what is allowed.
    """
    path = find(path_or_name)
    return check(read_document(path), path.stem, sets, folder=path.parent)


def check(document: Document, name: str, sets: Changes = (), folder: Path | None = None) -> Recipe:
    """Checks a parsed recipe and writes out its defaults; raises InvalidRecipe.

    Names of version 0.1 are faults, except in the recipe of a run that it made.
    """
    if not isinstance(document.tree, dict):
        raise RecipeError(
            f"{document.source}:1: a recipe maps keys ({', '.join(KEYS)}) to parts, found {_root(document)}"
        )
    for option in sets:
        if isinstance(sets, Mapping):
            document.put(option, option.split("."), sets[option], FOLDERS)
        else:
            document.set(option, FOLDERS)
    tree, renamed = rename(document.tree)
    faults = [*document.faults, *([] if of_version_0_1(Path(document.source)) else renamed)]
    resolved = _resolve(tree, lambda path, message: faults.append((path, message)))
    if faults:
        shown = [Fault(document.place(path), _dotted(path), message) for path, message in faults]
        raise InvalidRecipe(document.source, shown)
    _anchor(resolved, folder or Path())
    return Recipe(name, resolved)


def packaged() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(files("melpa_recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(path_or_name: str | Path) -> Path:
    """The file of a recipe given by path, or by the name of a packaged one; raises RecipeError."""
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; name the recipe file in it")
    name, known = str(path_or_name), packaged()
    if name in known:
        return known[name]
    if path.suffix in (".yaml", ".yml") or path.name != name:
        raise RecipeError(f"no recipe file {path}; melpa recipes lists those that come with the package")
    raise RecipeError(f"no recipe '{name}'{did_you_mean(name, known)}")


def _resolve(tree: Mapping[str, Value], complain: Complain) -> dict[str, Value]:
    """Reads every key, fills in defaults, and complains of every fault."""
    for key in tree:
        if key not in KEYS:
            complain((key,), f"unknown key{did_you_mean(key, KEYS)}")
    given = {key: value for key, value in tree.items() if value is not None}
    given = {**DEFAULTS, **({"problem": "language"} if "model" in given else {}), **given}
    resolved: dict[str, Value] = {"model": read_value(given.get("model"), str | None, ("model",), complain)}
    for part in FOLDERS:
        resolved[part] = read_part(given[part], kinds(part), (part,), complain) if part in given else None
    train = given.get("train", {})
    if isinstance(train, dict):
        resolved["train"] = read_settings(train, TrainSettings, ("train",), complain)
    else:
        complain(("train",), f"expected a mapping of settings, found {show(train)}")
    resolved["backend"] = read_value(given.get("backend", "mlx"), BACKEND, ("backend",), complain)
    readout, tasks = resolved["readout"] or {}, resolved["tasks"] or {}
    if "ways" in readout and readout["ways"] is None:  # weights for every label that an episode has
        readout["ways"] = tasks.get("ways")
    check_parts(resolved, complain)
    return resolved


def _anchor(resolved: dict[str, Value], folder: Path) -> None:
    for *outer, key in FILES:
        holder = resolved[outer[0]] if outer else resolved
        value = holder.get(key)
        if isinstance(value, str):
            holder[key] = _existing(value, folder)
        elif isinstance(value, list):
            holder[key] = [_existing(item, folder) for item in value]


def _existing(text: str, folder: Path) -> str:
    """The absolute path of an existing file, so that a run's recipe is valid anywhere; other text unchanged."""
    if text == "pocket":
        return text
    for start in (Path.cwd(), folder):
        path = start / Path(text).expanduser()
        if path.exists():
            return str(path.resolve())
    return text


def _dotted(path: KeyPath) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def _root(document: Document) -> str:
    return {type(None): "nothing", list: "a list"}.get(type(document.tree), show(document.tree))


def recipe_of(tree: Mapping[str, Value], name: str) -> Recipe:
    """Checks a recipe that a program made."""
    text = yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)
    return check(Document(name, text), name)
