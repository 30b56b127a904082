"""The number of tasks after which meta-training has paid for itself, and steps to a random start's accuracy."""

from collections.abc import Sequence
from math import ceil

from ...core.types import Json

AFTER = (1, 10, 50, 100, 1000)
"""Numbers of tasks over which fixed costs are shared."""
TIMES = 5
"""How many times cheaper meta-learned adaptation is said to be after 50 tasks, and how many times fewer its steps."""

HEAD = (
    "Seconds a task, with meta-training and the search for a rate shared over 1 to 1,000 tasks; the number of tasks "
    f"from which all of it is less, and {TIMES} times less, than the random start's at its best steps, search and all "
    "(one search, for the same steps and for the best); and steps, of those that were measured, to what the random "
    "start comes to at its best."
)


def over_tasks(entry: Json, curve: Json, start: Json | None, main: str, better: int) -> Json:
    """Seconds and steps of an entry with `training`, `tuning` and `seconds`, against a random start at its best.

    amortised: seconds a task, by number of tasks. break_even, break_even_5x: the number of tasks from which it is
    cheaper, and TIMES cheaper. steps_to: see `fewer_steps`. `curve` is its own; `better` is -1 if less is better.
    """
    found: Json = {"amortised": {str(n): fixed_cost(entry) / n + entry["seconds"] for n in AFTER}}
    if start is None:
        return found
    found |= {"break_even": break_even(entry, start), "break_even_5x": break_even(entry, start, TIMES)}
    return {**found, "steps_to": fewer_steps(curve, start["curve"], main, better)}


def fixed_cost(entry: Json) -> float:
    """Seconds that are spent once for all tasks: meta-training, and the search for a rate."""
    return float((entry["training"] or 0) + (entry.get("tuning") or 0))


def break_even(entry: Json, start: Json, times: float = 1) -> int | None:
    """The number n of tasks from which the total cost is `times` less than that of a random start; None for never.

    times (training + search + n seconds) <= search' + n seconds', with a random start at its best steps on the right.
    It is None too if each task costs more than that, so that a first advantage is lost again.
    """
    ahead = times * fixed_cost(entry) - start["tuning"]
    saved = start["costs"]["seconds"] - times * entry["seconds"]
    if saved <= 0:
        return None
    return max(0, ceil(ahead / saved))


def fewer_steps(curve: Json, start: Json, main: str, better: int) -> Json:
    """The fewest steps to the final measure of a random start at its best: its own, the entry's, and their ratio.

    Only measured steps count, on means over episodes and the entry's seeds. ours: None if the entry never gets there; 0
    if it begins there or above. ratio: None if either takes no step.
    """
    target = start[main][-1]
    theirs, ours = (_first(each["steps"], each[main], target, better) for each in (start, curve))
    return {"target": target, "theirs": theirs, "ours": ours, "ratio": theirs / ours if theirs and ours else None}


def _first(steps: Sequence[int], values: Sequence[float], target: float, better: int) -> int | None:
    return next((k for k, value in zip(steps, values, strict=True) if better * (value - target) >= 0), None)


def rows(methods: Json) -> tuple[list[str], list[list[str]]]:
    """The columns of a table of amortised costs, and a line for each method and number of shots."""
    columns = ["method", "shots", *(f"s/task, {n:,}" for n in AFTER), "break-even tasks"]
    columns += [f"{TIMES} times from", "steps to random start's best", "times fewer"]
    lines = [
        [name, n, *_cells(entry)]
        for name, method in methods.items()
        for n, entry in method["shots"].items()
        if "amortised" in entry
    ]
    return columns, lines


def _cells(entry: Json) -> list[str]:
    seconds = [f"{value:.3g}" for value in entry["amortised"].values()]
    if "steps_to" not in entry:
        return [*seconds, "", "", "", ""]
    found = entry["steps_to"]
    ours = "not reached" if found["ours"] is None else found["ours"]
    fewer = "at once" if found["ours"] == 0 else "" if found["ratio"] is None else f"{found['ratio']:.2g}"
    tasks = [tasks_of(entry[name]) for name in ("break_even", "break_even_5x")]
    return [*seconds, *tasks, f"{ours} (its own: {found['theirs']})", fewer]


def tasks_of(count: int | None) -> str:
    """A number of tasks as it is shown."""
    return "never" if count is None else f"{count:,}"
