"""YAML documents that know the line of each key, and changes to them by dotted keys."""

import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..errors import RecipeError

KeyPath = tuple[str | int, ...]
Value = Any
"""A plain value of YAML: text, a number, true, false, null, or lists and dicts of these."""


Construct = Callable[[yaml.Node], Value]


class Place(NamedTuple):
    """The place of a value: a file and a line, or a `--set` option (line None)."""

    source: str
    line: int | None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class _Loader(yaml.SafeLoader):
    """A SafeLoader that reads 1e-4 and 1.5e3 as numbers, as YAML 1.2 does; YAML 1.1 needs 1.0e-4."""


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class Document:
    """A tree of plain values with the place of every key; `faults` holds duplicate keys and the like."""

    def __init__(self, source: str, text: str):
        self.source = source
        self.places: dict[KeyPath, Place] = {}
        self.faults: list[tuple[KeyPath, str]] = []
        self.tree = self._parse(text)

    def place(self, path: KeyPath) -> Place:
        """The place of a key, or of the nearest one around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.source, 1))

    def set(self, option: str, parts: Container[str] = ()) -> None:
        """Applies one `a.b=value`, the value read as YAML; a key of `parts` may hold the name of a kind alone."""
        key, equals, text = option.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise RecipeError(f"--set {option}: expected KEY=VALUE, such as --set train.iterations=50")
        try:
            value = Document(self.source, text)
        except RecipeError:
            raise RecipeError(f"--set {option}: '{text}' can't be read as YAML") from None
        if value.faults:
            raise RecipeError(f"--set {option}: {value.faults[0][1]}")
        self.put(option, path, value.tree, parts)

    def put(self, option: str, path: Sequence[str], value: object, parts: Container[str] = ()) -> None:
        """Sets the value of a key, given by its path; `option` names the change in messages."""
        node = self.tree
        for depth, name in enumerate(path[:-1]):
            inner = node.get(name)
            if inner is None or (depth == 0 and name in parts and isinstance(inner, str)):
                inner = {} if inner is None else {"kind": inner}
            if not isinstance(inner, dict):
                raise RecipeError(f"--set {option}: '{'.'.join(path[: depth + 1])}' is {inner!r} and has no keys")
            node[name] = inner
            node = inner
        node[path[-1]], whole = value, tuple(path)
        self.faults = [fault for fault in self.faults if fault[0][: len(path)] != whole]
        self.places = {at: place for at, place in self.places.items() if at[: len(path)] != whole}
        self.places[whole] = Place(f"--set {option}", None)

    def _parse(self, text: str) -> Value:
        try:
            loader = _Loader(text)
            root = loader.get_single_node()
            return None if root is None else self._value(loader.construct_object, root, (), ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = 1 if mark is None else mark.line + 1
            raise RecipeError(f"{Place(self.source, line)}: {_problem(error, text, line)}") from None
        except yaml.reader.ReaderError as error:
            place = Place(self.source, text.count("\n", 0, error.position) + 1)
            raise RecipeError(f"{place}: a character that YAML does not allow") from None

    def _value(self, construct: Construct, node: yaml.Node, path: KeyPath, around: tuple[int, ...]) -> Value:
        if id(node) in around:
            self.faults.append((path, "an alias that holds itself"))
            return None
        around = (*around, id(node))
        if isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                self.places[(*path, i)] = Place(self.source, item.start_mark.line + 1)
            return [self._value(construct, item, (*path, i), around) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self._scalar(construct, node, path)
        read: dict[str, Value] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append((path, f"line {line}: a key has to be text"))
                continue
            key = str(key_node.value)
            if key in read:
                self.faults.append(
                    ((*path, key), f"written twice, on lines {self.places[(*path, key)].line} and {line}")
                )
                continue
            self.places[(*path, key)] = Place(self.source, line)
            read[key] = self._value(construct, value_node, (*path, key), around)
        return read

    def _scalar(self, construct: Construct, node: yaml.Node, path: KeyPath) -> Value:
        try:
            return construct(node)
        except ValueError as error:  # what looks like a date, but is none
            self.faults.append((path, f"{node.value!r} can't be read ({error}); put text in quotes"))
            return None


def _problem(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    lines = text.splitlines()
    if line <= len(lines) and "\t" in lines[line - 1]:
        return "a tab; YAML indents with spaces only"
    return " ".join(part for part in (error.context, error.problem) if part)


def read_document(path: Path) -> Document:
    """Reads a YAML file; raises RecipeError for what can't be read, with the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise RecipeError(f"can't read recipe {path}: {error.strerror}") from None
    return Document(str(path), text)
