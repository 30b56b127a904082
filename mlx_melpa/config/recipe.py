"""A recipe: which parts a run is made of, read from YAML and checked against the parts' own signatures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from ..core.layout import Layout
from ..errors import RecipeError
from .kinds import FOLDERS, kind_class, kinds
from .schema import Report, describe, did_you_mean, read_part, read_settings, read_value, show
from .train_settings import TrainSettings
from .yaml_document import Document, KeyPath, Place, read_document

KEYS = ("model", *FOLDERS, "train", "backend")
DEFAULTS = {"initializer": "universal", "rule": "sgd", "regularizer": "none", "sampler": "uniform"}
BACKEND = Literal["mlx", "torch"]
NEEDS_MODEL = ("language",)
"""Problems over a language model and its adapter; the others bring a network of their own."""
FILES = (("model",), ("tasks", "train"), ("tasks", "test"), ("tasks", "name"), ("tasks", "files"))
"""Keys whose text may be a path: looked up from the working directory, then from the recipe's folder."""


class Fault(NamedTuple):
    """One thing wrong in a recipe, and where."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"


class InvalidRecipe(RecipeError):
    """Every fault of a recipe at once."""

    def __init__(self, name: str, faults: Sequence[Fault]):
        self.faults = sorted(faults, key=lambda fault: (fault.place.line is None, fault.place.line or 0))
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{count} in recipe {name}", *(f"  {fault}" for fault in self.faults)]))


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    resolved: every key and setting written out, defaults included; what a run stores.
    text: the recipe as its author wrote it, without --set options.
    """

    name: str
    resolved: dict[str, Any]
    text: str = ""

    def part(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """The kind and the settings of a part; None where the recipe has none."""
        part = self.resolved[name]
        return None if part is None else (part["kind"], {k: v for k, v in part.items() if k != "kind"})

    def make(self, name: str, *given: Any) -> Any:
        """Calls the builder of a part with its settings; `given` are what the composition gives it.

        Raises RecipeError where the recipe has no such part.
        """
        if name == "train":
            return TrainSettings(**self.resolved["train"])
        part = self.part(name)
        if part is None:
            raise RecipeError(f"recipe {self.name} has no {name}; add the key '{name}' to it")
        return kinds(name)[part[0]](*given, **part[1])

    def check_trains(self, learner: Any, **parts: Any) -> None:
        """Refuses a built learner together with a learnable rule or regularizer that it can't train (RecipeError)."""
        for name, part in parts.items():
            if part.learnable and name not in learner.trains:
                raise RecipeError(f"recipe {self.name}: {name}: {_untrained(self.resolved, learner.trains, name)}")

    def held(self, layout: Layout) -> Layout:
        """The layout with what the learner's steps leave where it is marked as shared; raises RecipeError."""
        hold = getattr(kind_class("learner", self.resolved["learner"]["kind"]), "hold", None)
        return layout if hold is None else hold(layout, self.resolved["learner"])

    def dump(self) -> str:
        """The resolved recipe as YAML, which loads to the same recipe."""
        return yaml.safe_dump(self.resolved, sort_keys=False, allow_unicode=True)


def load_recipe(path_or_name: str | Path, sets: Sequence[str] = ()) -> Recipe:
    """Reads and checks a recipe, a file or the name of a packaged one, with changes such as "train.iterations=50".

    Raises RecipeError, with every fault at once: file, line, key, value, what is allowed.
    """
    path = find(path_or_name)
    document, text = read_document(path)
    return check(document, path.stem, text, sets, folder=path.parent)


def check(
    document: Document, name: str, text: str = "", sets: Sequence[str] = (), folder: Path | None = None
) -> Recipe:
    """Checks a parsed recipe and writes out its defaults; raises InvalidRecipe."""
    if not isinstance(document.tree, dict):
        raise RecipeError(
            f"{document.source}:1: a recipe maps keys ({', '.join(KEYS)}) to parts, found {_root(document)}"
        )
    for option in sets:
        document.set(option, parts=FOLDERS)
    faults = list(document.faults)
    resolved = _resolve(document.tree, lambda path, message: faults.append((path, message)))
    if faults:
        shown = [Fault(document.place(path), _dotted(path), message) for path, message in faults]
        raise InvalidRecipe(document.source, shown)
    _anchor(resolved, folder or Path())
    return Recipe(name, resolved, text)


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


def _resolve(tree: Mapping[str, Any], report: Report) -> dict[str, Any]:
    for key in tree:
        if key not in KEYS:
            report((key,), f"unknown key{did_you_mean(key, KEYS)}")
    given = {key: value for key, value in tree.items() if value is not None}
    given = {**DEFAULTS, **({"problem": "language"} if "model" in given else {}), **given}
    resolved: dict[str, Any] = {"model": read_value(given.get("model"), str | None, ("model",), report)}
    for part in FOLDERS:
        resolved[part] = read_part(given[part], kinds(part), (part,), report) if part in given else None
    train = given.get("train", {})
    if isinstance(train, dict):
        resolved["train"] = read_settings(train, TrainSettings, ("train",), report)
    else:
        report(("train",), f"expected a mapping of settings, found {show(train)}")
    resolved["backend"] = read_value(given.get("backend", "mlx"), BACKEND, ("backend",), report)
    _require(resolved, report)
    if resolved["learner"]:
        trains = getattr(kind_class("learner", resolved["learner"]["kind"]), "trains", frozenset(FOLDERS))
        for part in ("rule", "regularizer"):
            if resolved[part] and part not in trains and kind_class(part, resolved[part]["kind"]).learnable:
                report((part,), _untrained(resolved, trains, part))
        if (
            resolved["initializer"]
            and hasattr(kind_class("initializer", resolved["initializer"]["kind"]), "decode")
            and "rule" not in trains
        ):
            report(
                ("learner",),
                f"learner '{resolved['learner']['kind']}' does not go back along the steps, and initializer "
                f"'{resolved['initializer']['kind']}' makes the rows of each; take learner: fomaml or maml",
            )
        lacks = getattr(kind_class("learner", resolved["learner"]["kind"]), "lacks", None)
        if lacks and resolved["regularizer"] and lacks(resolved["regularizer"]):
            report(("regularizer",), lacks(resolved["regularizer"]))
    _require_streams(resolved, report)
    _fill_ways(resolved, report)
    return resolved


def _untrained(resolved: Mapping[str, Any], trains: Iterable[str], part: str) -> str:
    learner, kind, can = resolved["learner"]["kind"], resolved[part]["kind"], " and the ".join(sorted(trains))
    return (
        f"learner '{learner}' trains the {can} only, so what {part} '{kind}' has to learn would stay as it began; "
        f"take another learner, or another {part}"
    )


def _require(resolved: Mapping[str, Any], report: Report) -> None:
    for part in ("tasks", "learner"):
        if resolved[part] is None:
            report((), f"missing key '{part}': a kind ({', '.join(kinds(part))})")
    problem = resolved["problem"]
    if problem is None:
        report(
            (), f"missing key 'model', or 'problem' for one without a language model ({', '.join(kinds('problem'))})"
        )
    elif problem.get("kind") in NEEDS_MODEL:
        if resolved["model"] is None:
            report((), f"missing key 'model': problem '{problem['kind']}' needs {describe(str)}, such as pocket")
        if resolved["adapter"] is None:
            report((), f"missing key 'adapter': a kind ({', '.join(kinds('adapter'))})")
    elif problem:
        for key in ("model", "adapter", "readout"):
            if resolved[key] is not None:
                report((key,), f"problem '{problem['kind']}' brings its own network and has no {key}; remove the key")


def _require_streams(resolved: Mapping[str, Any], report: Report) -> None:
    length = resolved.get("train", {}).get("stream")
    if not isinstance(length, int) or length < 2:
        return
    if resolved["learner"] and not getattr(kind_class("learner", resolved["learner"]["kind"]), "streams", False):
        report(
            ("learner",),
            f"learner '{resolved['learner']['kind']}' is for single tasks, and train.stream asks for {length} that "
            "follow one another; take maml or fomaml, or set train.stream: 1",
        )
    if resolved["regularizer"] and kind_class("regularizer", resolved["regularizer"]["kind"]).carries:
        report(
            ("regularizer",),
            f"what regularizer '{resolved['regularizer']['kind']}' carries from task to task has no derivative here, "
            f"so a stream of {length} would train it wrongly; take none or l2, or set train.stream: 1",
        )


def _fill_ways(resolved: dict[str, Any], report: Report) -> None:
    """A readout that holds weights for every label has as many as an episode has labels, unless it names more."""
    readout, ways = resolved["readout"] or {}, (resolved["tasks"] or {}).get("ways")
    if "ways" not in readout:
        return
    if ways is None and readout["ways"] is None:
        report(("readout",), f"'{readout['kind']}' needs to know how many labels a task has; set tasks.ways")
    elif isinstance(ways, int) and isinstance(readout["ways"], int) and readout["ways"] < ways:
        report(("readout", "ways"), f"{readout['ways']} labels are fewer than tasks.ways: {ways}")
    readout["ways"] = ways if readout["ways"] is None else readout["ways"]


def _anchor(resolved: dict[str, Any], folder: Path) -> None:
    for *outer, key in FILES:
        holder = resolved[outer[0]] if outer else resolved
        value = holder.get(key)
        if isinstance(value, str):
            holder[key] = _existing(value, folder)
        elif isinstance(value, list):
            holder[key] = [_existing(item, folder) for item in value]


def _existing(text: str, folder: Path) -> str:
    """Absolute, so that a run's stored recipe can be read from elsewhere; what exists nowhere stays as it is."""
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


def recipe_of(tree: dict[str, Any], name: str) -> Recipe:
    """Checks a recipe that a program wrote."""
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return check(Document(name, text), name, text)
