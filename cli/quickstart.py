"""`melpa quickstart`: the main job once, offline, by the commands that a person would type."""

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import command, json_out, note, out, table

RUN, HOME, NOTES, ASKED, EXPORT, EVAL = "run", "home", "notes.jsonl", "new.jsonl", "export", "eval"
EPISODES, TUNING = 48, 4
NEXT = """
Next: put notes of your own into notes.jsonl, one {{"text": "...", "label": "..."}} a line, and run
  melpa adapt --user me notes.jsonl --run {run}
For a model from Hugging Face, learn once how to adapt it: melpa prepare mlx-community/Qwen3-0.6B-4bit
With a collection of tasks or people: melpa recipes clinc150 --copy mine.yaml, then melpa meta-train mine.yaml"""


@command
def quickstart(
    folder: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/quickstart"),
    sets: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe, as in meta-train.")] = None,
    episodes: Annotated[int, typer.Option(help="Unseen tasks to measure on.", min=2)] = EPISODES,
    tuning: Annotated[int, typer.Option(help="Episodes to tune the random start on.", min=2)] = TUNING,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """See the whole job once, offline: meta-train, adapt to one person, export, compare."""
    import shutil
    from time import perf_counter

    from mlx_melpa.config.recipe import find
    from mlx_melpa.core.atomic import replace_text

    began = perf_counter()
    for name in (RUN, HOME, EXPORT, EVAL):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    shell = _Shell(folder / HOME, quiet=json)
    changes = [text for change in sets or [] for text in ("--set", change)]
    shell.show("meta-train", str(find("quickstart")), "--out", str(folder / RUN), *changes)
    truth = _person(folder)
    notes, asked = str(folder / NOTES), str(folder / ASKED)
    shell.tell("adapt", "--user", "before", notes, "--random-start", "--steps", "0", hidden=True)
    adapted = shell.tell("adapt", "--user", "sam", notes, "--run", str(folder / RUN))
    answers = [shell.tell("label", "--user", user, asked, hidden=user != "sam") for user in ("before", "sam")]
    exported = shell.tell("export", "--user", "sam", "--out", str(folder / EXPORT))
    sizes = ("--episodes", str(episodes), "--tuning-episodes", str(tuning))
    found = shell.tell(
        "eval", str(folder / RUN), "--methods", "base,random_start,meta", *sizes, "--out", str(folder / EVAL)
    )
    summary = _summary(found, adapted)
    summary["person"] = {
        "message": answers[0][0]["text"],
        "truth": truth[0],
        "messages": len(truth),
        "seconds": adapted["seconds"],
        **{w: _answers(said, truth) for w, said in zip(("before", "after"), answers, strict=True)},
    }
    summary["export"] = {"max_difference": exported["max_difference"], "folder": str(folder / EXPORT)}
    summary["seconds"] = perf_counter() - began
    replace_text(folder / "summary.json", json_text.dumps(summary, indent=1) + "\n")
    if json:
        json_out(summary)
        return
    _show(summary, folder)


class _Shell:
    """Runs melpa's own commands with a store of their own, and shows what it runs."""

    def __init__(self, home: Path, quiet: bool):
        import os

        self.quiet, self.environment = quiet, {**os.environ, "MELPA_HOME": str(home)}

    def show(self, *words: str) -> None:
        """Runs a command with its output on the screen."""
        self._run(words, False)

    def tell(self, *words: str, hidden: bool = False) -> Any:
        """Runs a command with --json and returns what it says."""
        return json_text.loads(self._run((*words, "--json"), True, hidden))

    def _run(self, words: tuple[str, ...], captured: bool, hidden: bool = False) -> str:
        import shlex
        import subprocess
        import sys

        if not (self.quiet or hidden):
            out(f"\n$ melpa {shlex.join(word for word in words if word != '--json')}")
        to = subprocess.PIPE if captured else (subprocess.DEVNULL if self.quiet else None)
        command = [sys.executable, "-m", str(__package__), *words]
        done = subprocess.run(command, env=self.environment, stdout=to, text=True)
        if done.returncode:
            raise SystemExit(done.returncode)  # the command has said why
        return done.stdout or ""


def _person(folder: Path) -> list[str]:
    """Writes notes and new messages of a simulated person on things that training never saw; gives the true labels"""
    import numpy as np

    from mlx_melpa.config.recipe import load_recipe

    tasks = load_recipe(folder / RUN / "recipe.yaml").make("tasks").test
    episode = tasks.episode(np.random.default_rng([2026, 0]))
    for name, examples in ((NOTES, episode.support), (ASKED, episode.query)):
        lines = [json_text.dumps({"text": e.text, "label": e.label}, ensure_ascii=False) for e in examples]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [e.label for e in episode.query]


def _answers(found: list[dict[str, Any]], truth: list[str]) -> dict[str, Any]:
    """What was answered to the first message, and how many of all were right."""
    right = sum(answer["label"] == label for answer, label in zip(found, truth, strict=True))
    return {"label": found[0]["label"], "sure": found[0]["probabilities"][found[0]["label"]], "right": right}


def _summary(found: dict[str, Any], adapted: dict[str, Any]) -> dict[str, Any]:
    random, meta = found["random_start"], found["meta"]
    names = ("accuracy", "ci95")
    return {
        "base": {k: found["base"][k] for k in names},
        "random_start": {
            **{k: random[k] for k in (*names, "steps", "lr", "seconds_per_task")},
            "best": {k: random["best"][k] for k in (*names, "steps", "lr", "seconds_per_task")},
        },
        "meta": {
            **{k: meta[k] for k in (*names, "steps", "seconds_per_task", "worse_than_base")},
            "bytes_per_user": adapted["bytes"],
        },
    }


def _show(summary: dict[str, Any], folder: Path) -> None:
    base, random, meta, person = (summary[name] for name in ("base", "random_start", "meta", "person"))

    def row(name: str, found: dict[str, Any], nbytes: int | str = meta["bytes_per_user"]) -> tuple[Any, ...]:
        seconds = f"{found['seconds_per_task']:.2f}" if "steps" in found else ""
        return name, f"{found['accuracy']:.1%} ± {found['ci95']:.1%}", found.get("steps", 0), seconds, nbytes

    rows = [
        row("base model, frozen", base, ""),
        row("random start, same steps", random),
        row("random start, best steps", random["best"]),
        row("meta-learned", meta),
    ]
    out()
    table(("people never seen in training", "accuracy", "steps", "seconds", "bytes per user"), rows)
    out(f"\nA new message: {person['message']!r} (this person files it under {person['truth']!r})")
    for when in ("before", "after"):
        said = person[when]
        count = f"{said['right']} of {person['messages']} new messages right"
        out(f"  {when:<6} adaptation: {said['label']!r}, {said['sure']:.0%} sure; {count}")
    same = f"mlx-lm loads {folder / EXPORT} with the same logits (within {summary['export']['max_difference']:.1e})"
    out(f"\nAdapted in {person['seconds']:.2f} s; {same}.")
    where = f"plot: {folder / EVAL / 'steps.png'}; all numbers: {folder / 'summary.json'}"
    note(f"{where}; {summary['seconds']:.0f} s in all")
    out(NEXT.format(run=folder / RUN))
