"""Checks between the parts of a recipe: what is missing, and what does not go together."""

from collections.abc import Iterable, Mapping
from typing import Any

from .kinds import kind_class, kinds
from .schema import Complain, describe
from .yaml_document import Value

Resolved = Mapping[str, Value]


def check_parts(resolved: Resolved, complain: Complain) -> None:
    """Complains of every part that is missing or does not go with another one."""
    _check_keys(resolved, complain)
    if resolved["learner"]:
        _check_learner(resolved, complain)
    if _stream(resolved) > 1:
        _check_stream(resolved, complain)
    _check_ways(resolved, complain)


def _class(part: str, resolved: Resolved) -> Any:
    return kind_class(part, resolved[part]["kind"])


def untrained(resolved: Resolved, trains: Iterable[str], part: str) -> str:
    """Why a learner that trains some parts of theta can't be used with a learnable rule or regularizer."""
    learner, kind, can = (
        resolved["learner"]["kind"],
        resolved[part]["kind"],
        " and the ".join(sorted({*trains} - {"problem"})),
    )
    return (
        f"learner '{learner}' trains the {can} only, so what {part} '{kind}' has to learn would stay as it began; "
        f"take another learner, or another {part}"
    )


def _check_keys(resolved: Resolved, complain: Complain) -> None:
    for part in ("tasks", "learner"):
        if resolved[part] is None:
            complain((), f"missing key '{part}': a kind ({', '.join(kinds(part))})")
    problem = resolved["problem"]
    if problem is None:
        complain(
            (), f"missing key 'model', or 'problem' for one without a language model ({', '.join(kinds('problem'))})"
        )
    elif problem and _class("problem", resolved).needs_model:
        if resolved["model"] is None:
            complain((), f"missing key 'model': problem '{problem['kind']}' needs {describe(str)}, such as pocket")
        if resolved["adapter"] is None:
            complain((), f"missing key 'adapter': a kind ({', '.join(kinds('adapter'))})")
    elif problem:
        for key in ("model", "adapter", "readout"):
            if resolved[key] is not None:
                complain((key,), f"problem '{problem['kind']}' brings its own network and has no {key}; remove the key")


def _check_learner(resolved: Resolved, complain: Complain) -> None:
    learner = _class("learner", resolved)
    trains = learner.trains
    for part in ("rule", "regularizer"):
        if resolved[part] and part not in trains and _class(part, resolved).learnable:
            complain((part,), untrained(resolved, trains, part))
    if resolved["initializer"] and _class("initializer", resolved).latent and "problem" not in trains:
        complain(
            ("learner",),
            f"learner '{resolved['learner']['kind']}' has no gradient through the steps, and initializer "
            f"'{resolved['initializer']['kind']}' decodes the row at each of them; take learner: fomaml or maml",
        )
    if resolved["regularizer"]:
        settings = {name: value for name, value in resolved["regularizer"].items() if name != "kind"}
        if reason := learner.lacks(_class("regularizer", resolved), settings):
            complain(("regularizer",), reason)


def _stream(resolved: Resolved) -> int:
    length = resolved.get("train", {}).get("stream")
    return length if isinstance(length, int) else 1


def _check_stream(resolved: Resolved, complain: Complain) -> None:
    length = _stream(resolved)
    if resolved["learner"] and not _class("learner", resolved).streams:
        complain(
            ("learner",),
            f"learner '{resolved['learner']['kind']}' is for single tasks, and train.stream asks for {length} that "
            "follow one another; take maml or fomaml, or set train.stream: 1",
        )
    if resolved["regularizer"] and _class("regularizer", resolved).carries:
        complain(
            ("regularizer",),
            f"what regularizer '{resolved['regularizer']['kind']}' carries from task to task has no derivative here, "
            f"so a stream of {length} would train it wrongly; take none or l2, or set train.stream: 1",
        )


def _check_ways(resolved: Resolved, complain: Complain) -> None:
    readout, ways = resolved["readout"] or {}, (resolved["tasks"] or {}).get("ways")
    if "ways" not in readout:
        return
    if readout["ways"] is None:
        complain(("readout",), f"'{readout['kind']}' needs to know how many labels a task has; set tasks.ways")
    elif isinstance(ways, int) and isinstance(readout["ways"], int) and readout["ways"] < ways:
        complain(("readout", "ways"), f"{readout['ways']} labels are fewer than tasks.ways: {ways}")
