"""`melpa quickstart`: the main job once, offline, by the commands that a person would type."""

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import command, json_out, note, out, table
from .options import Json, Sets

if TYPE_CHECKING:
    from mlx_melpa.benchmarks.processes import Commands

RUN, HOME, EXAMPLES, TEST, EXPORT, EVAL = "run", "home", "notes.jsonl", "new.jsonl", "export", "eval"
EPISODES, TUNING = 48, 4
NEXT = """
Next: put examples of your own into notes.jsonl, one {{"text": "...", "label": "..."}} a line, and run
  melpa adapt --user me notes.jsonl --run {run}
For a model from Hugging Face, learn once how to adapt it: melpa prepare mlx-community/Qwen3-0.6B-4bit
With a collection of tasks or people: melpa recipes clinc150 --copy mine.yaml, then melpa meta-train mine.yaml"""
Record = dict[str, Any]


@command
def quickstart(
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything goes.")] = Path(
        "runs/quickstart"
    ),
    sets: Sets = None,
    episodes: Annotated[int, typer.Option(help="Unseen tasks to measure on.", min=2)] = EPISODES,
    tuning: Annotated[int, typer.Option(help="Episodes to tune the random start on.", min=2)] = TUNING,
    json: Json = False,
) -> None:
    """See the whole job once, offline: meta-train, adapt to one person, export, compare."""
    import shutil
    from time import perf_counter

    from mlx_melpa.benchmarks.processes import Commands
    from mlx_melpa.config.recipe import find
    from mlx_melpa.core.atomic import replace_text

    began = perf_counter()
    for name in (RUN, HOME, EXPORT, EVAL):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    shell = _Shell(Commands(folder), quiet=json)
    run, examples, test, exported = (str(folder / name) for name in (RUN, EXAMPLES, TEST, EXPORT))
    changes = [text for change in sets or [] for text in ("--set", change)]
    shell.show("meta-train", str(find("quickstart")), "--out", run, *changes)
    truth = _person(folder)
    shell.tell("adapt", "--user", "before", examples, "--random-start", "--steps", "0", hidden=True)
    adapted = shell.tell("adapt", "--user", "sam", examples, "--run", run)
    answers = [shell.tell("label", "--user", user, test, hidden=user != "sam") for user in ("before", "sam")]
    export = shell.tell("export", "--user", "sam", "--out", exported)
    sizes = ("--episodes", str(episodes), "--tuning-episodes", str(tuning))
    measured = shell.tell("eval", run, "--methods", "base,random_start,meta", *sizes, "--out", str(folder / EVAL))
    summary = _measures(measured, adapted)
    summary["person"] = {
        "message": answers[0][0]["text"],
        "truth": truth[0],
        "messages": len(truth),
        "seconds": adapted["seconds"],
        **{when: _answers(given, truth) for when, given in zip(("before", "after"), answers, strict=True)},
    }
    summary["export"] = {"max_difference": export["max_difference"], "folder": exported}
    summary["seconds"] = perf_counter() - began
    replace_text(folder / "summary.json", json_text.dumps(summary, indent=1) + "\n")
    if json:
        json_out(summary)
        return
    _show(summary, folder)


class _Shell:
    """Runs melpa's commands and prints each as a person would type it, unless it is hidden or all is quiet."""

    def __init__(self, commands: "Commands", quiet: bool):
        self.commands, self.quiet = commands, quiet

    def show(self, *words: str) -> None:
        """Runs a command with its output on the screen."""
        from subprocess import DEVNULL

        self._run(words, DEVNULL if self.quiet else None)

    def tell(self, *words: str, hidden: bool = False) -> Any:
        """Runs a command with --json and returns what it prints."""
        from subprocess import PIPE

        return json_text.loads(self._run(words, PIPE, "--json", hidden=hidden))

    def _run(self, words: tuple[str, ...], stdout: int | None, *unshown: str, hidden: bool = False) -> str:
        import shlex

        if not (self.quiet or hidden):
            out(f"\n$ melpa {shlex.join(words)}")
        done = self.commands.start((*words, *unshown), stdout)
        if done.returncode:
            raise SystemExit(done.returncode)  # the command has printed its error
        return done.stdout or ""


def _person(folder: Path) -> list[str]:
    """Writes examples and new messages of a simulated person on unseen topics; returns the true labels."""
    import numpy as np

    from mlx_melpa.config.recipe import load_recipe

    tasks = load_recipe(folder / RUN / "recipe.yaml").make("tasks").test
    episode = tasks.episode(np.random.default_rng([2026, 0]))
    for name, examples in ((EXAMPLES, episode.support), (TEST, episode.query)):
        lines = [json_text.dumps({"text": e.text, "label": e.label}, ensure_ascii=False) for e in examples]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [e.label for e in episode.query]


def _answers(given: list[Record], truth: list[str]) -> Record:
    """The answer to the first message, and the number of right ones among all."""
    right = sum(answer["label"] == label for answer, label in zip(given, truth, strict=True))
    return {"label": given[0]["label"], "sure": given[0]["probabilities"][given[0]["label"]], "right": right}


def _measures(measured: Record, adapted: Record) -> Record:
    def part(method: Record, *names: str) -> Record:
        return {name: method[name] for name in ("accuracy", "ci95", *names)}

    random, meta = measured["random_start"], measured["meta"]
    adam = ("steps", "lr", "seconds_per_task")
    return {
        "base": part(measured["base"]),
        "random_start": {**part(random, *adam), "best": part(random["best"], *adam)},
        "meta": {
            **part(meta, "steps", "seconds_per_task", "worse_than_base"),
            "bytes_per_user": adapted["bytes"],
        },
    }


def _show(summary: Record, folder: Path) -> None:
    base, random, meta, person = (summary[name] for name in ("base", "random_start", "meta", "person"))

    def row(name: str, method: Record, nbytes: int | str = meta["bytes_per_user"]) -> tuple[Any, ...]:
        seconds = f"{method['seconds_per_task']:.2f}" if "steps" in method else ""
        return name, f"{method['accuracy']:.1%} ± {method['ci95']:.1%}", method.get("steps", 0), seconds, nbytes

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
        answers = person[when]
        count = f"{answers['right']} of {person['messages']} new messages right"
        out(f"  {when:<6} adaptation: {answers['label']!r}, probability {answers['sure']:.0%}; {count}")
    same = f"mlx-lm loads {folder / EXPORT} with the same logits (within {summary['export']['max_difference']:.1e})"
    out(f"\nAdapted in {person['seconds']:.2f} s; {same}.")
    where = f"plot: {folder / EVAL / 'steps.png'}; all numbers: {folder / 'summary.json'}"
    note(f"{where}; {summary['seconds']:.0f} s in all")
    out(NEXT.format(run=folder / RUN))
