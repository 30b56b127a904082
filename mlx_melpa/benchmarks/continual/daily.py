"""A person who adapts every day: what is left of the first day, and what a day costs. `melpa bench daily`"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ...core.types import Example
from ...errors import DataError
from ..processes import Commands
from ..speed.settings import Advance
from .tasks import Stream, reserved

ASKED = 10
"""How often day one's material is asked about: so many times over all days."""


@dataclass(frozen=True)
class Diary:
    """The notes of each day, and what is asked about the labels of the first one, which no day shows."""

    days: tuple[tuple[Example, ...], ...]
    asked: tuple[Example, ...]


def diary(stream: Stream, days: int, labels: int, shots: int, seed: int) -> Diary:
    """Goes through the stream's tasks one after another, an equal share of the days each.

    A day has at most `shots` examples of each of at most `labels` labels drawn from its task; a label's examples come
    in turn, each once. What `reserved` sets apart of the first day's labels is asked about. Raises DataError where a
    day finds nothing new.
    """
    rng, names, at = np.random.default_rng([seed, 6]), list(stream.groups), dict[tuple[str, str], int]()
    written, first = [], list[str]()
    for day in range(days):
        name = names[day * len(names) // days]
        shown = {label: e[reserved(len(e)) :] for label, e in stream.groups[name].items()}
        held = [label for label in shown if at.get((name, label), 0) < len(shown[label])]
        if not held:
            raise DataError(f"day {day + 1} finds no new example in task '{name}'; lower --days, --labels or --shots")
        drawn = [held[i] for i in rng.permutation(len(held))[:labels]]
        first = first or drawn
        today: list[Example] = []
        for label in drawn:
            begun = at.get((name, label), 0)
            today += shown[label][begun : begun + shots]
            at[name, label] = begun + shots
        written.append(tuple(today))
    apart = (stream.groups[names[0]][label] for label in first)
    asked = tuple(e for examples in apart for e in examples[: reserved(len(examples))])
    return Diary(tuple(written), asked)


def daily(run: str, lived: Diary, keep: int | None, advance: Advance) -> dict[str, Any]:
    """One `melpa adapt` a day, each a process of its own, and `melpa score` on day one's material now and then.

    Gives seconds and bytes of each day, how many days' versions became the answer, day one's accuracy and loss over the
    days among all labels so far, and beside it that of one adaptation to all days' notes at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        asked = commands.write("asked.jsonl", lived.asked)
        also = () if keep is None else ("--keep", str(keep))
        told, over = [], []
        marks = {round(k * (len(lived.days) - 1) / ASKED) for k in range(ASKED + 1)}
        for day, notes in enumerate(lived.days):
            told.append(commands.tell("adapt", "--user", "me", commands.write("day.jsonl", notes), "--run", run, *also))
            if day in marks:
                over.append({"day": day + 1, **_asked(commands, "me", asked)})
            advance(1, f"day {day + 1} of {len(lived.days)}")
        commands.tell("adapt", "--user", "once", commands.write("all.jsonl", _all(lived)), "--run", run)
        once = _asked(commands, "once", asked)
    seconds, sizes = [s for s, _ in told], [said["bytes"] for _, said in told]
    return {
        "run": run,
        "days": len(lived.days),
        "notes_a_day": median(map(len, lived.days)),
        "kept": sum(said["kept"] for _, said in told),
        "keep": keep,
        "seconds": {**ends(seconds), "each": seconds},
        "adaptation": ends([said["seconds"] for _, said in told]),
        "bytes": {**ends(sizes), "each": sizes},
        "day_one": over,
        "at_once": once,
    }


def ends(values: Sequence[float]) -> dict[str, float]:
    """The medians of the first and the last tenth."""
    tenth = max(1, len(values) // 10)
    return {"first": median(values[:tenth]), "last": median(values[-tenth:])}


def _all(lived: Diary) -> list[Example]:
    return list(dict.fromkeys(e for notes in lived.days for e in notes))


def _asked(commands: Commands, user: str, file: str) -> dict[str, Any]:
    fit = commands.tell("score", "--user", user, file)[1]["adapted"]
    labels = commands.tell("users", "show", user)[1]["labels"]
    return {"labels": len(labels), "accuracy": fit["accuracy"], "loss": fit["loss"]}


def draw(found: dict[str, Any], folder: Path) -> None:
    """Draws day one's accuracy over the days, and seconds a day, into FOLDER."""
    from ...evaluation.plots import plot_over

    days = [point["day"] for point in found["day_one"]]
    curves = {
        "every day": (days, [point["accuracy"] for point in found["day_one"]]),
        "all at once": (days[-1:], [found["at_once"]["accuracy"]]),
    }
    plot_over(folder / "day_one.png", curves, x="day", y="accuracy on day one's material")
    each = found["seconds"]["each"]
    plot_over(folder / "seconds.png", {"melpa adapt": (range(1, len(each) + 1), each)}, x="day", y="seconds")
