"""Settings: declared by a builder's signature, and read from a recipe by it."""

import inspect
import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from ..core.bounds import Bounds
from .yaml_document import KeyPath, Value

Complain = Callable[[KeyPath, str], None]
Builder = Callable[..., Any]
Hint = Any
"""The annotation of a setting."""


@dataclass(frozen=True)
class Kinds:
    """Marks a setting that is a part: the name of a kind, or a mapping with `kind` and the settings of that kind."""

    table: Mapping[str, Builder]

    __hash__ = object.__hash__


class Setting(NamedTuple):
    """One setting of a builder; `default` is `inspect.Parameter.empty` where a value is required."""

    hint: Hint
    default: Value

    @property
    def required(self) -> bool:
        """True if a recipe has to give it."""
        return self.default is inspect.Parameter.empty

    @property
    def shared(self) -> bool:
        """True if it is a dataclass, whose fields several builders have in common."""
        return is_dataclass(self.hint)


class _Mismatch(Exception):
    """A value that does not match its annotation."""


def settings_of(builder: Builder) -> dict[str, Setting]:
    """The settings of a builder: its annotated keyword-only arguments, or the fields of a dataclass.

    An argument that is a dataclass itself stands for its fields, which a recipe gives beside the other settings.
    """
    found: dict[str, Setting] = {}
    for name, setting in arguments(builder).items():
        found |= settings_of(setting.hint) if setting.shared else {name: setting}
    return found


def build(builder: Builder, given: Sequence[object], settings: Mapping[str, object]) -> Any:
    """Calls a builder with positional arguments and with settings as a recipe names them."""
    left = dict(settings)
    for name, setting in arguments(builder).items():
        if setting.shared:
            names = [field for field in settings_of(setting.hint) if field in left]
            left[name] = setting.hint(**{field: left.pop(field) for field in names})
    return builder(*given, **left)


def arguments(builder: Builder) -> dict[str, Setting]:
    """The keyword-only arguments of a builder, those with a dataclass for several settings among them."""
    hints = get_type_hints(builder, include_extras=True)
    factories = {f.name: f.default_factory for f in fields(builder)} if is_dataclass(builder) else {}
    made = {name: factory() for name, factory in factories.items() if factory is not MISSING}
    return {
        name: Setting(hints[name], made.get(name, parameter.default))
        for name, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def read_part(value: Value, table: Mapping[str, Builder], path: KeyPath, complain: Complain) -> dict[str, Value]:
    """Reads a part, a kind's name or {kind: ..., settings}, as a dict of its kind and all its settings."""
    value = {"kind": value} if isinstance(value, str) else value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        complain(path, f"expected {describe(Annotated[dict, Kinds(table)])}, found {show(value)}")
        return {}
    kind = value["kind"]
    if kind not in table:
        complain((*path, "kind"), f"unknown kind '{kind}'{did_you_mean(kind, table)}")
        return {}
    given = {name: setting for name, setting in value.items() if name != "kind"}
    return {"kind": kind, **read_settings(given, table[kind], path, complain)}


def read_settings(given: Mapping[str, Value], builder: Builder, path: KeyPath, complain: Complain) -> dict[str, Value]:
    """Reads the settings of a builder and adds its defaults; `complain` is called for every fault."""
    settings = settings_of(builder)
    for name in given:
        if name not in settings:
            complain((*path, name), f"unknown setting '{name}'{did_you_mean(name, settings)}")
    read: dict[str, Value] = {}
    for name, setting in settings.items():
        if name in given:
            read[name] = read_value(given[name], setting.hint, (*path, name), complain)
        elif setting.required:
            complain(path, f"missing setting '{name}': {describe(setting.hint)}")
        else:
            read[name] = read_value(setting.default, setting.hint, (*path, name), complain)
    return read


def read_value(value: Value, hint: Hint, path: KeyPath, complain: Complain) -> Value:
    """Reads one value by its annotation."""
    try:
        return _read(value, hint, path, complain)
    except _Mismatch as mismatch:
        complain(path, f"expected {describe(hint)}, found {show(value)}{mismatch}")
        return value


def _read(value: Value, hint: Hint, path: KeyPath, complain: Complain) -> Value:
    origin: Hint = get_origin(hint)
    args = get_args(hint)
    if origin is Annotated:
        return _read_annotated(value, args[0], args[1:], path, complain)
    if origin in (Union, types.UnionType):
        return _read_union(value, args, path, complain)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in args):
            return value
        raise _Mismatch(did_you_mean(value, [a for a in args if isinstance(a, str)], listed=False))
    if (origin or hint) in (list, tuple):
        return _read_list(value, origin or hint, args, path, complain)
    if (origin or hint) is dict:
        return _read_dict(value, args, path, complain)
    if hint in (None, type(None)):
        return _expect(value, value is None)
    return value if hint is Any else _read_scalar(value, hint)


def _expect(value: Value, fits: bool) -> Value:
    if not fits:
        raise _Mismatch
    return value


def _read_scalar(value: Value, hint: Hint) -> Value:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float:
        return float(_expect(value, number and isfinite(value)))
    if hint is int:
        return int(_expect(value, number and isfinite(value) and value == int(value)))
    if hint is str and isinstance(value, bool):
        raise _Mismatch(" (YAML reads yes, no, on and off so: put the text in quotes)")
    if hint in (str, bool):
        return _expect(value, isinstance(value, hint))
    raise TypeError(f"a setting can't be annotated with {hint!r}")


def _read_annotated(value: Value, hint: Hint, marks: tuple[object, ...], path: KeyPath, complain: Complain) -> Value:
    for mark in marks:
        if isinstance(mark, Kinds):
            return read_part(value, mark.table, path, complain)
    value = _read(value, hint, path, complain)
    for mark in marks:
        if isinstance(mark, Bounds):
            _expect(value, mark.allows(value))
    return value


def _read_union(value: Value, members: tuple[Hint, ...], path: KeyPath, complain: Complain) -> Value:
    for member in members:
        faults: list[str] = []

        def note(at: KeyPath, message: str, faults: list[str] = faults) -> None:
            faults.append(message)

        try:
            read = _read(value, member, path, note)
        except _Mismatch:
            continue
        if not faults:
            return read
    raise _Mismatch


def _read_list(value: Value, kind: type, args: tuple[Hint, ...], path: KeyPath, complain: Complain) -> list[Value]:
    _expect(value, isinstance(value, list | tuple))
    hints = list(args)
    if kind is list or (len(args) == 2 and args[1] is Ellipsis):
        hints = [args[0] if args else Any] * len(value)
    _expect(value, len(value) == len(hints))
    return [read_value(v, h, (*path, i), complain) for i, (v, h) in enumerate(zip(value, hints, strict=True))]


def _read_dict(value: Value, args: tuple[Hint, ...], path: KeyPath, complain: Complain) -> dict[str, Value]:
    _expect(value, isinstance(value, dict))
    hint = args[1] if args else Any
    return {name: read_value(v, hint, (*path, name), complain) for name, v in value.items()}


def describe(hint: Hint) -> str:
    """The values that a setting takes, in words."""
    origin: Hint = get_origin(hint)
    args = get_args(hint)
    if origin is Annotated:
        kinds = [mark for mark in args[1:] if isinstance(mark, Kinds)]
        if kinds:
            return f"a kind ({', '.join(sorted(kinds[0].table))}) or {{kind: ..., its settings}}"
        return " ".join([describe(args[0]), *(str(mark) for mark in args[1:] if isinstance(mark, Bounds))])
    if origin in (Union, types.UnionType):
        return ", or ".join(describe(member) for member in args)
    if origin is Literal:
        return " or ".join(show(choice) for choice in args)
    if (origin or hint) is tuple and Ellipsis not in args:
        return f"a list of {len(args)}: {', '.join(map(describe, args))}"
    if (origin or hint) in (list, tuple):
        return f"a list of ({describe(args[0])})" if args else "a list"
    if (origin or hint) is dict:
        return f"a mapping of names to ({describe(args[1])})" if args else "a mapping"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(hint, "any value")


def show(value: Value) -> str:
    """A value as a recipe writes it, in at most 60 characters."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(name: object, known: Iterable[str], *, listed: bool = True) -> str:
    """A suggestion of the nearest known name, and the list of all."""
    known = list(known)
    near = get_close_matches(str(name), known, n=1)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    return guess + (f" (known: {', '.join(sorted(known)) or 'none'})" if listed else "")
