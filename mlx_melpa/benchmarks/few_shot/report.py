"""What a few-shot benchmark came to: one entry a method, its table in Markdown, and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MelpaError
from ...evaluation import curves as evaluate
from ...evaluation import text_overlap as overlap
from ...evaluation.intervals import crossed
from ...evaluation.plots import plot_curves, plot_over
from . import break_even as worth
from .settings import Job, Settings

Result = Mapping[str, Any]
TOLD = {"accuracy": ("accuracy", "f1"), "bits_per_byte": ("bits_per_byte",), "loss": ("loss",)}
"""The measures of a table, by the main one; BLEU and ROUGE-L where texts were written."""


def summed(settings: Settings, done: Mapping[Job, Result]) -> dict[str, Any]:
    """Per method and shots: measures with intervals over seeds and episodes, costs as means over seeds.

    worse: the share of tasks that end below the base, None where that is left out. general: bits per byte of plain
    text, of the base and of the adapted model, None where nothing is adapted. gain: over multi-task at its best steps,
    on the same episodes; above 0 is better. What else stands there: see `worth`.
    """
    kept = {job: done[job] for job in settings.jobs if "left_out" not in done[job]}
    if not kept:
        raise MelpaError(f"none of --methods could be measured: {next(iter(done.values()))['left_out']}; name others")
    methods: dict[str, Any] = {}
    for name in dict.fromkeys(job.name for job in kept):
        jobs = [job for job in kept if job.name == name]
        of_shots = {n: [job for job in jobs if job.shots == n] for n in settings.shots}
        entry = {str(n): _entry(settings, kept, same) for n, same in of_shots.items() if same}
        methods[settings.title(jobs[0])] = {"method": jobs[0].method, "of": jobs[0].of, "shots": entry}
    shape: dict[str, Any] = {
        "episodes": settings.episodes,
        "tuning_episodes": settings.tuning_episodes,
        "seeds": settings.seeds,
    }
    shape |= {"generate": settings.generate, "left_out": settings.left_out}
    notes = [note for drawn in settings.drawn.values() for note in drawn.notes]
    notes += [f"{settings.title(job)}: {found['left_out']}" for job, found in done.items() if "left_out" in found]
    main = next(iter(kept.values()))["main"]
    return {**shape, "measure": main, "methods": methods, "notes": list(dict.fromkeys(notes))}


def _entry(settings: Settings, done: Mapping[Job, Result], jobs: Sequence[Job]) -> dict[str, Any]:
    first, found = jobs[0], [done[job] for job in jobs]
    main = found[0]["main"]
    values = {name: np.array([one["measures"][name] for one in found]) for name in TOLD[main]}
    ground = settings.ground_of(first)
    base = done.get(Job("base", ground, first.shots, 0, 0))
    better = 1 if main in evaluate.HIGHER else -1
    entry: dict[str, Any] = {name: crossed(matrix) for name, matrix in values.items()}
    below = None if base is None else better * (values[main] - np.array(base["measures"][main])) < 0
    entry |= {"worse": None if below is None else float(below.mean())}
    rivals = [done[job] for job in done if job[:3] == ("multi_task", ground, first.shots) and job.steps is None]
    if rivals and first.method != "multi_task":
        theirs = np.array([one["measures"][main] for one in rivals])
        entry["gain"] = crossed(better * (values[main] - theirs))  # one seed is compared with each of the others
    costs = [one["costs"] for one in found]
    entry |= {name: _mean([one.get(name) for one in costs]) for name in costs[0]}
    before = None if base is None or entry.get("general") is None else base["costs"].get("general")
    entry["general"] = [before, entry.get("general")]
    texts = [one["written"] for one in found if "written" in one]
    if len(texts) == len(found):
        most = min(len(one["bleu"]) for one in texts)
        entry |= {name: crossed(np.array([one[name][:most] for one in texts])) for name in overlap.NAMES}
    entry |= {name: _mean([one.get(name) for one in found]) for name in ("training", "tuning", "steps", "lr")}
    if "curve" not in found[0]:
        return entry
    curves = [one["curve"] for one in found]
    curve = {"steps": curves[0]["steps"], main: np.mean([one[main] for one in curves], 0).tolist()}
    if len(curve["steps"]) > 1:
        entry["curve"] = curve
    best = Job("random_start", ground, first.shots, 0)
    if first == best or first.method in ("meta", "multi_task"):
        entry |= worth.worth(entry, curve, None if first == best else done.get(best), main, better)
    return entry


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def rows(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table's columns and a line for each method; costs are those of the most shots."""
    main, shots = found["measure"], list(next(iter(found["methods"].values()))["shots"])
    told = [each for method in found["methods"].values() for each in method["shots"].values()]
    names = (*TOLD[main], *(name for name in overlap.NAMES if any(name in each for each in told)))
    measured = [(n, name) for n in shots for name in names]
    columns = ["method", *(f"{_named(name)}, {_shots(n)}" for n, name in measured)]
    columns += ["gain over multi-task", "worse than base", "steps", "s/task", "GFLOP/task", "inference ms", "trained"]
    columns += [
        "of the base",
        "bytes a user",
        "peak MB",
        "training s",
        "search s",
        "break-even tasks",
        "plain text bpb",
    ]
    return columns, [[name, *_cells(entry, measured, main)] for name, entry in found["methods"].items()]


def _cells(method: Mapping[str, Any], measured: Sequence[tuple[str, str]], main: str) -> list[str]:
    last = list(method["shots"].values())[-1]
    steps = [f"{entry['steps']:g}" for entry in method["shots"].values()]
    told = [_interval(method["shots"][n].get(name), name) for n, name in measured]
    flops = None if last["flops"] is None else last["flops"] / 1e9
    return [
        *told,
        _interval(last["gain"], main) if "gain" in last else "",
        _number(last["worse"], ".1%"),
        " / ".join(dict.fromkeys(steps)),
        _number(last["seconds"], ".3g"),
        _number(flops, ".3g"),
        _number(last["inference_ms"], ".3g"),
        _number(last["parameters"], ",.0f"),
        _number(last["share"], ".2%"),
        _number(last["nbytes"], ",.0f"),
        _number(last["memory"] / 1e6, ",.0f"),
        _number(last["training"], ",.0f"),
        _number(last["tuning"], ",.0f"),
        worth.tasks_of(last["break_even"]) if "break_even" in last else "",
        " → ".join(dict.fromkeys(_number(value, ".3f") for value in last["general"] if value is not None)),
    ]


def markdown(found: Mapping[str, Any]) -> str:
    """The table and that of `worth` as Markdown, with what they hold above and notes below."""
    columns, lines = rows(found)
    told, worths = worth.rows(found["methods"])
    head = (
        f"{found['episodes']} test episodes, the same for all; {found['seeds']} seeds of what is trained; tuned on "
        f"{found['tuning_episodes']} validation episodes. Intervals of 95% over seeds and episodes. Costs are of "
        "one person alone, at the most shots; seconds are this machine's."
    )
    if found["left_out"]:
        head += f" Left out: {', '.join(found['left_out'])}."
    if "BLEU" in " ".join(columns):
        head += " BLEU and ROUGE-L of one text for each of the first test episodes, in percent."
    notes = "".join(f"- {note}\n" for note in found["notes"])
    second = f"{worth.HEAD}\n\n{_table(told, worths)}" if worths else ""
    return "\n".join(part for part in (f"{head}\n", _table(columns, lines), second, notes) if part)


def _table(columns: list[str], lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (columns, ["---"] * len(columns), *lines))


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Draws the main measure against steps, for each number of shots, and against shots."""
    main, methods = found["measure"], found["methods"]
    shots = list(next(iter(methods.values()))["shots"])
    for n in shots:
        at = {name: method["shots"][n] for name, method in methods.items() if n in method["shots"]}
        curves = {
            name: (entry["curve"]["steps"], entry["curve"][main])
            for name, entry in at.items()
            if "curve" in entry and methods[name]["method"] in ("meta", "random_start", "multi_task")
        }
        flat = {name: entry[main]["mean"] for name, entry in at.items() if methods[name]["method"] not in _CURVED}
        if curves:
            plot_curves(folder / f"steps-{n}.png", curves, measure=main, lines=flat)
    over = {
        name: ([int(n) for n in m["shots"]], [e[main]["mean"] for e in m["shots"].values()])
        for name, m in methods.items()
    }
    plot_over(folder / "shots.png", over, x="examples to adapt from, per label or person", y=_named(main))


_CURVED = ("meta", "random_start", "multi_task", "base")


def _named(name: str) -> str:
    return {"f1": "macro-F1", "bleu": "BLEU", "rouge_l": "ROUGE-L"}.get(name, name.replace("_", " "))


def _shots(n: str) -> str:
    return f"{n} shot{'' if n == '1' else 's'}"


def _interval(value: Mapping[str, float] | None, name: str) -> str:
    if value is None:
        return ""
    if name in (*evaluate.HIGHER, *overlap.NAMES):
        return f"{100 * value['mean']:.1f} ± {100 * value['ci95']:.1f}"
    return f"{value['mean']:.3f} ± {value['ci95']:.3f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
