"""The meaning of a recipe's keys, kinds and settings, read from the docstrings of their builders.

A builder's docstring has, as paragraphs: what it builds, with the paper; more, where that is needed; then

    Use it when ...
    Not when ...

    name: what the setting is, with its unit; lines after the first are indented.
    Other settings: as `kind`.

The last line takes the texts of another kind of the same part. Settings that several builders share as a dataclass have
their texts in its docstring, or that of its base. A formula stands in the module's docstring.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_args

from ..errors import RecipeError
from .kinds import FOLDERS, kinds
from .recipe import BACKEND, DEFAULTS, KEYS
from .schema import Builder, Kinds, Setting, arguments, describe, did_you_mean, settings_of, show
from .train_settings import TrainSettings

OTHERS = "Other settings"
_ENTRY = re.compile(rf"({OTHERS}|\w+(?:, \w+)*): ")
_PLAIN = {
    "model": (str, "The base model: `pocket` (6.3M parameters, in the package), a Hugging Face name, or a folder."),
    "backend": (BACKEND, "The engine: `mlx`, or `torch` (extra `torch`), which also runs encoders and T5."),
}


@dataclass(frozen=True)
class Entry:
    """The text of a key, a kind or a setting.

    name: the dotted path, such as readout.ridge.temperature.
    does, more, formula: what it is in a line, in further paragraphs, and in formulas.
    use, avoid: when to use it, and when not; of kinds.
    allowed, default: what a setting may be, as text.
    below: a key's kinds or settings, a kind's settings.
    """

    name: str
    does: str
    more: tuple[str, ...] = ()
    formula: str = ""
    use: str = ""
    avoid: str = ""
    allowed: str = ""
    default: str = ""
    below: tuple["Entry", ...] = ()

    @property
    def last(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    def walk(self) -> Iterator["Entry"]:
        """This entry, and all below it."""
        yield self
        for entry in self.below:
            yield from entry.walk()

    def record(self) -> dict[str, Any]:
        """The fields that are not empty, as plain dicts and lists."""
        found = {name: value for name, value in vars(self).items() if value}
        return found | ({"below": [entry.record() for entry in self.below]} if self.below else {})


def entries() -> list[Entry]:
    """Every key of a recipe, with all that is below it."""
    return [_key(name) for name in KEYS]


def explain(name: str) -> list[Entry]:
    """The entries that a name means: a key, a kind or a setting, alone or dotted; raises RecipeError for none.

    `learner`, `maml`, `learner.maml`, `maml.steps` and `learner.steps` are names.
    """
    known = [entry for key in entries() for entry in key.walk()]
    found = [entry for entry in known if _means(name.split("."), entry.name.split("."))]
    if not found:
        guess = did_you_mean(name, {text for entry in known for text in (entry.name, entry.last)}, listed=False)
        raise RecipeError(f"no key, kind or setting '{name}'{guess}; melpa explain lists all kinds")
    return found


def reference() -> str:
    """All entries as Markdown, a section a key."""
    return "\n\n".join(block for entry in entries() for block in _markdown(entry)) + "\n"


def _means(wanted: list[str], path: list[str]) -> bool:
    """True if the wanted names stand in a path in this order, the last one at its end."""
    left = iter(path)
    return wanted[-1] == path[-1] and all(name in left for name in wanted)


def _key(name: str) -> Entry:
    if name in _PLAIN:
        hint, text = _PLAIN[name]
        return Entry(name, text, allowed=describe(hint), default="mlx" if name == "backend" else "")
    if name == "train":
        return _built(name, TrainSettings, {})
    folder = import_module(f"..{FOLDERS[name]}", __package__)
    return Entry(name, inspect.getdoc(folder) or "", default=DEFAULTS.get(name, ""), below=_kinds(name, kinds(name)))


def _kinds(name: str, table: Mapping[str, Builder]) -> tuple[Entry, ...]:
    """Entries of the kinds of a table, without second names for the same one."""
    own = {kind: builder for kind, builder in table.items() if builder.__name__ == kind}
    return tuple(_built(f"{name}.{kind}", builder, own) for kind, builder in own.items())


def _built(name: str, builder: Builder, table: Mapping[str, Builder]) -> Entry:
    prose, use, avoid = _prose(builder)
    does, _, formula = (inspect.getdoc(inspect.getmodule(builder)) or "").partition("\n\n")
    if name.count(".") != 1:  # not a kind with a file of its own
        does, *prose = prose or [""]
        formula = ""
    texts = _texts(builder, table)
    below = tuple(_setting(f"{name}.{key}", setting, texts) for key, setting in settings_of(builder).items())
    return Entry(name, does, tuple(prose), formula, use, avoid, below=below)


def _setting(name: str, setting: Setting, texts: Mapping[str, str]) -> Entry:
    tables = [mark.table for mark in get_args(setting.hint) if isinstance(mark, Kinds)]
    default = setting.default
    if isinstance(default, dict) and tables:
        default = default["kind"]
    return Entry(
        name,
        texts.get(name.rpartition(".")[2], ""),
        allowed=describe(setting.hint),
        default="required" if setting.required else show(default),
        below=_kinds(name, tables[0]) if tables else (),
    )


def _paragraphs(builder: Builder) -> list[str]:
    return (inspect.getdoc(builder) or "").split("\n\n")


def _is_settings(paragraph: str, builder: Builder) -> bool:
    found, known = _ENTRY.match(paragraph), {OTHERS, *settings_of(builder)}
    return found is not None and set(found[1].split(", ")) <= known


def _prose(builder: Builder) -> tuple[list[str], str, str]:
    """The paragraphs of a builder's docstring but for its settings, when to use it, and when not."""
    prose, use, avoid = [], "", ""
    for paragraph in _paragraphs(builder):
        if paragraph.startswith("Use it when"):
            use, _, rest = paragraph.partition("\nNot when")
            avoid = f"Not when{rest}" if rest else ""
        elif not _is_settings(paragraph, builder):
            prose.append(paragraph)
    return prose, use, avoid


def _texts(builder: Builder, table: Mapping[str, Builder]) -> dict[str, str]:
    """The text of each setting that the docstrings of a builder, and of dataclasses among its arguments, have."""
    found: dict[str, str] = {}
    shared = [argument.hint for argument in arguments(builder).values() if argument.shared]
    for source in (base for hint in shared for base in reversed(hint.__mro__[:-1])):
        found |= _texts(source, table)
    for paragraph in filter(lambda p: _is_settings(p, builder), _paragraphs(builder)):
        for line in re.split(r"\n(?! )", paragraph):
            names, _, text = line.partition(": ")
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    other = re.search(r"`(\w+)`", found.pop(OTHERS, ""))
    return (_texts(table[other[1]], table) if other else {}) | found


def _markdown(entry: Entry) -> Iterator[str]:
    """A heading, paragraphs and a table of settings; then the kinds."""
    key, _, kind = entry.name.rpartition(".")
    yield f"{'#' * (3 if kind and key else 2)} `{f'{key}: {kind}' if key else kind}`"
    yield entry.does
    if entry.default:
        yield f"Default: `{entry.default}`."
    yield from entry.more
    yield from (
        text for text in (f"```text\n{entry.formula}\n```" * bool(entry.formula), entry.use, entry.avoid) if text
    )
    settings = [below for below in entry.below if below.allowed]
    if settings:
        rows = [f"| `{s.last}` | `{s.default}` | {s.allowed} | {s.does} |" for s in settings]
        yield "\n".join(["| setting | default | values | meaning |", "|---|---|---|---|", *rows])
    for below in entry.below:
        for kind_ in below.below if below.allowed else (below,):
            yield from _markdown(kind_)
