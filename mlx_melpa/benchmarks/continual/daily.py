"""A simulated user who adapts every day: forgetting of the first day, and the cost of a day. `melpa bench daily`"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from ...core.progress import Advance
from ...core.types import Example, Json
from ...errors import DataError
from ..processes import Commands
from .tasks import Stream, reserved_for_tuning

SCORED = 10
"""Intervals after which the first day's labels are scored, over all days."""


@dataclass(frozen=True)
class History:
    """The examples of each day, and `held_out` examples of the first day's labels, which no day shows."""

    days: tuple[tuple[Example, ...], ...]
    held_out: tuple[Example, ...]


def simulate_history(stream: Stream, days: int, labels: int, shots: int, seed: int) -> History:
    """Goes through the stream's tasks one after another, with an equal share of the days for each.

    A day has at most `shots` examples of each of at most `labels` labels drawn from its task. A label's examples come
    in turn, each once. Raises DataError where a day finds no new example.
    """
    rng, names = np.random.default_rng([seed, 6]), list(stream.groups)
    used = dict[tuple[str, str], int]()
    history, first = [], list[str]()
    for day in range(days):
        name = names[day * len(names) // days]
        examples = {label: e[reserved_for_tuning(len(e)) :] for label, e in stream.groups[name].items()}
        left = [label for label in examples if used.get((name, label), 0) < len(examples[label])]
        if not left:
            raise DataError(f"day {day + 1} finds no new example in task '{name}'; lower --days, --labels or --shots")
        drawn = [left[i] for i in rng.permutation(len(left))[:labels]]
        first = first or drawn
        today: list[Example] = []
        for label in drawn:
            begin = used.get((name, label), 0)
            today += examples[label][begin : begin + shots]
            used[name, label] = begin + shots
        history.append(tuple(today))
    reserved = (stream.groups[names[0]][label] for label in first)
    held_out = tuple(e for examples in reserved for e in examples[: reserved_for_tuning(len(examples))])
    return History(tuple(history), held_out)


def daily(run: str, history: History, store_examples: int | None, advance: Advance) -> Json:
    """One `melpa adapt` a day, each a process of its own, and `melpa score` on the held-out examples now and then.

    Gives seconds and bytes of each day, the number of accepted versions, accuracy and loss on the first day's labels
    among all labels so far, and the same after one adaptation to the examples of all days at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        held_out = commands.write("held_out.jsonl", history.held_out)
        options = () if store_examples is None else ("--store-examples", str(store_examples))
        results, scores = [], []
        scored = {round(k * (len(history.days) - 1) / SCORED) for k in range(SCORED + 1)}
        for day, examples in enumerate(history.days):
            file = commands.write("day.jsonl", examples)
            results.append(commands.tell("adapt", "--user", "me", file, "--run", run, *options))
            if day in scored:
                scores.append({"day": day + 1, **_score(commands, "me", held_out)})
            advance(1, f"day {day + 1} of {len(history.days)}")
        together = list(dict.fromkeys(example for examples in history.days for example in examples))
        commands.tell("adapt", "--user", "once", commands.write("all.jsonl", together), "--run", run)
        once = _score(commands, "once", held_out)
    seconds = [spent for spent, _ in results]
    sizes = [result["bytes"] for _, result in results]
    return {
        "run": run,
        "days": len(history.days),
        "notes_a_day": median(map(len, history.days)),
        "kept": sum(result["accepted"] for _, result in results),
        "keep": store_examples,
        "seconds": {**ends(seconds), "each": seconds},
        "adaptation": ends([result["seconds"] for _, result in results]),
        "bytes": {**ends(sizes), "each": sizes},
        "day_one": scores,
        "at_once": once,
    }


def ends(values: Sequence[float]) -> dict[str, float]:
    """The medians of the first and the last tenth."""
    tenth = max(1, len(values) // 10)
    return {"first": median(values[:tenth]), "last": median(values[-tenth:])}


def _score(commands: Commands, user: str, file: str) -> Json:
    adapted = commands.tell("score", "--user", user, file)[1]["adapted"]
    labels = commands.tell("users", "show", user)[1]["labels"]
    return {"labels": len(labels), "accuracy": adapted["accuracy"], "loss": adapted["loss"]}


def draw(result: Json, folder: Path) -> None:
    """Draws the first day's accuracy over the days, and seconds a day, into FOLDER."""
    from ...evaluation.plots import plot_over

    days = [score["day"] for score in result["day_one"]]
    curves = {
        "every day": (days, [score["accuracy"] for score in result["day_one"]]),
        "all at once": (days[-1:], [result["at_once"]["accuracy"]]),
    }
    plot_over(folder / "day_one.png", curves, x="day", y="accuracy on day one's labels")
    each = result["seconds"]["each"]
    plot_over(folder / "seconds.png", {"melpa adapt": (range(1, len(each) + 1), each)}, x="day", y="seconds")
