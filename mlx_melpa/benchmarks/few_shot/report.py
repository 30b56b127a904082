"""The results of a few-shot benchmark: an entry for each method, a table in Markdown, and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.types import Json
from ...errors import MelpaError
from ...evaluation import text_overlap
from ...evaluation.curves import HIGHER
from ...evaluation.intervals import crossed
from ...evaluation.methods import METHODS
from ...evaluation.plots import plot_curves, plot_over
from . import break_even
from .episodes import Episodes
from .jobs import Jobs, Measurement

SHOWN = {"accuracy": ("accuracy", "f1"), "bits_per_byte": ("bits_per_byte",), "loss": ("loss",)}
"""The measures of a table, by the main one; BLEU and ROUGE-L if texts were written."""
COSTS = (
    ("s/task", "seconds", 1, ".3g"),
    ("GFLOP/task", "flops", 1e9, ".3g"),
    ("inference ms", "inference_ms", 1, ".3g"),
    ("trained", "parameters", 1, ",.0f"),
    ("of the base", "share", 1, ".2%"),
    ("bytes a user", "nbytes", 1, ",.0f"),
    ("peak MB", "memory", 1e6, ",.0f"),
    ("training s", "training", 1, ",.0f"),
    ("search s", "tuning", 1, ",.0f"),
)
"""Columns of costs: title, key, unit and format."""


def summed(jobs: Jobs, episodes: Mapping[int, Episodes], results: Mapping[Measurement, Json]) -> Json:
    """Per method and shots: measures with intervals over seeds and episodes, costs as means over seeds.

    worse: the share of tasks that end below the base, None if that was not measured. general: bits per byte of general
    text, of the base and of the adapted model, None if nothing is adapted. gain: over multi-task at its best steps, on
    the same episodes; above 0 is better. For the other keys see `break_even`.
    """
    settings = jobs.settings
    measured = {job: result for job, result in results.items() if "left_out" not in result}
    if not measured:
        reason = next(iter(results.values()))["left_out"]
        raise MelpaError(f"none of --methods could be measured: {reason}; name others")
    methods: Json = {}
    for name in dict.fromkeys(job.name for job in measured):
        same = [job for job in measured if job.name == name]
        by_shots = {n: [job for job in same if job.shots == n] for n in settings.shots}
        entries = {str(n): _entry(jobs, measured, each) for n, each in by_shots.items() if each}
        methods[jobs.title(same[0])] = {"method": same[0].method, "of": same[0].of, "shots": entries}
    notes = [note for drawn in episodes.values() for note in drawn.notes]
    notes += [f"{jobs.title(job)}: {result['left_out']}" for job, result in results.items() if "left_out" in result]
    return {
        "episodes": settings.episodes,
        "tuning_episodes": settings.tuning_episodes,
        "seeds": settings.seeds,
        "generate": settings.generate,
        "left_out": jobs.left_out,
        "measure": next(iter(measured.values()))["main"],
        "methods": methods,
        "notes": list(dict.fromkeys(notes)),
    }


def _entry(jobs: Jobs, measured: Mapping[Measurement, Json], same: Sequence[Measurement]) -> Json:
    """The results of one method and number of shots, over its seeds."""
    first, results = same[0], [measured[job] for job in same]
    main, setting = results[0]["main"], jobs.setting_of(first)
    sign = 1 if main in HIGHER else -1
    values = {name: np.array([result["measures"][name] for result in results]) for name in SHOWN[main]}
    entry: Json = {name: crossed(each) for name, each in values.items()}
    base = measured.get(Measurement("base", setting, first.shots, 0))
    below = None if base is None else sign * (values[main] - np.array(base["measures"][main])) < 0
    entry["worse"] = None if below is None else float(below.mean())
    rivals = [job for job in measured if job[:3] == ("multi_task", setting, first.shots) and job.steps is None]
    if rivals and first.method != "multi_task":
        theirs = np.array([measured[job]["measures"][main] for job in rivals])
        entry["gain"] = crossed(sign * (values[main] - theirs))  # one seed is compared with each of the others
    entry |= {name: _mean([result["costs"][name] for result in results]) for name in results[0]["costs"]}
    before = None if base is None or entry["general"] is None else base["costs"]["general"]
    entry["general"] = [before, entry["general"]]
    entry |= _overlaps(results)
    entry |= {name: _mean([result.get(name) for result in results]) for name in ("training", "tuning", "steps")}
    entry["lr"] = _mean([result["settings"].get("lr") for result in results])
    curves = [result["curve"] for result in results]
    curve = {"steps": curves[0]["steps"], main: np.mean([each[main] for each in curves], 0).tolist()}
    if len(curve["steps"]) > 1:
        entry["curve"] = curve
    best = Measurement("random_start", setting, first.shots, 0, None)
    if first == best or first.method in ("meta", "multi_task"):
        start = None if first == best else measured.get(best)
        entry |= break_even.over_tasks(entry, curve, start, main, sign)
    return entry


def _overlaps(results: Sequence[Json]) -> Json:
    """BLEU and ROUGE-L with intervals, if all seeds wrote texts."""
    written = [result["written"] for result in results if result.get("written")]
    if len(written) < len(results):
        return {}
    count = min(len(each["bleu"]) for each in written)
    return {name: crossed(np.array([each[name][:count] for each in written])) for name in text_overlap.NAMES}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def rows(found: Json) -> tuple[list[str], list[list[str]]]:
    """The table's columns and a line for each method; costs are those of the most shots."""
    main, shots = found["measure"], list(next(iter(found["methods"].values()))["shots"])
    entries = [entry for method in found["methods"].values() for entry in method["shots"].values()]
    names = (*SHOWN[main], *(name for name in text_overlap.NAMES if any(name in entry for entry in entries)))
    measured = [(n, name) for n in shots for name in names]
    columns = ["method", *(f"{_named(name)}, {_shots(n)}" for n, name in measured)]
    columns += ["gain over multi-task", "worse than base", "steps", *(title for title, *_ in COSTS)]
    columns += ["break-even tasks", "general text bpb"]
    return columns, [[name, *_cells(entry, measured, main)] for name, entry in found["methods"].items()]


def _cells(method: Json, measured: Sequence[tuple[str, str]], main: str) -> list[str]:
    last = list(method["shots"].values())[-1]
    steps = [f"{entry['steps']:g}" for entry in method["shots"].values()]
    costs = [(None if last[name] is None else last[name] / unit, form) for _, name, unit, form in COSTS]
    return [
        *(_interval(method["shots"][n].get(name), name) for n, name in measured),
        _interval(last.get("gain"), main),
        _number(last["worse"], ".1%"),
        " / ".join(dict.fromkeys(steps)),
        *(_number(cost, form) for cost, form in costs),
        break_even.tasks_of(last["break_even"]) if "break_even" in last else "",
        " → ".join(dict.fromkeys(_number(value, ".3f") for value in last["general"] if value is not None)),
    ]


def markdown(found: Json) -> str:
    """The tables of methods and of break-even as Markdown, with an introduction above and notes below."""
    columns, lines = rows(found)
    second_columns, second_lines = break_even.rows(found["methods"])
    head = (
        f"{found['episodes']} test episodes, the same for all; {found['seeds']} seeds of what is trained; tuned on "
        f"{found['tuning_episodes']} validation episodes. Intervals of 95% over seeds and episodes. Costs are of "
        "one user alone, at the most shots; seconds are this machine's."
    )
    if found["left_out"]:
        head += f" Left out: {', '.join(found['left_out'])}."
    if "BLEU" in " ".join(columns):
        head += " BLEU and ROUGE-L of one text for each of the first test episodes, in percent."
    notes = "".join(f"- {note}\n" for note in found["notes"])
    second = f"{break_even.HEAD}\n\n{_table(second_columns, second_lines)}" if second_lines else ""
    return "\n".join(part for part in (f"{head}\n", _table(columns, lines), second, notes) if part)


def _table(columns: list[str], lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (columns, ["---"] * len(columns), *lines))


def draw(found: Json, folder: Path) -> None:
    """Draws the main measure against steps, for each number of shots, and against shots."""
    main, methods = found["measure"], found["methods"]
    shots = list(next(iter(methods.values()))["shots"])
    for n in shots:
        at = {name: method["shots"][n] for name, method in methods.items() if n in method["shots"]}
        curves = {
            name: (entry["curve"]["steps"], entry["curve"][main]) for name, entry in at.items() if "curve" in entry
        }
        at_once = [name for name in at if not METHODS[methods[name]["method"]].adapts and name != "base"]
        flat = {name: at[name][main]["mean"] for name in at_once}
        if curves:
            plot_curves(folder / f"steps-{n}.png", curves, measure=main, lines=flat)
    over = {
        name: ([int(n) for n in m["shots"]], [e[main]["mean"] for e in m["shots"].values()])
        for name, m in methods.items()
    }
    plot_over(folder / "shots.png", over, x="examples to adapt from, per label or person", y=_named(main))


def _named(name: str) -> str:
    return {"f1": "macro-F1", "bleu": "BLEU", "rouge_l": "ROUGE-L"}.get(name, name.replace("_", " "))


def _shots(n: str) -> str:
    return f"{n} shot{'' if n == '1' else 's'}"


def _interval(value: Mapping[str, float] | None, name: str) -> str:
    if value is None:
        return ""
    if name in (*HIGHER, *text_overlap.NAMES):
        return f"{100 * value['mean']:.1f} ± {100 * value['ci95']:.1f}"
    return f"{value['mean']:.3f} ± {value['ci95']:.3f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
