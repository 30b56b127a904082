"""Options that several commands share, each declared once, and the flags that version 0.2 renamed."""

from collections.abc import Container
from typing import Annotated, Literal

import typer

Engine = Literal["mlx", "torch"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Backend = Annotated[Engine | None, typer.Option("--backend", help="The engine; the recipe's or the run's by default.")]
Model = Annotated[
    str | None, typer.Option("--model", help="The base model, by hub name or folder; the run's by default.")
]
AllowOtherWeights = Annotated[
    bool, typer.Option("--allow-other-weights", help="Allow a quantized or converted copy of the base model.")
]
RecipeName = Annotated[str, typer.Argument(help="A recipe file, or the name of a packaged recipe.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe: train.iterations=50."),
]
Seed = Annotated[int, typer.Option("--seed", help="The seed of everything that is drawn.", min=0)]
User = Annotated[str, typer.Option("--user", help="The user's id.", show_default=False)]
RunName = Annotated[
    str | None,
    typer.Option("--run", help="What melpa prepare or meta-train made, by folder or name; the newest that fits."),
]
Steps = Annotated[str, typer.Option("--steps", help="A number of steps, or auto.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

# Episodes of a file of tasks.
Group = Annotated[
    str | None, typer.Option("--group", help="The field that makes a task of the file; '' where none does.")
]
Label = Annotated[str | None, typer.Option("--label", help="The field of the label.")]
Ways = Annotated[int | None, typer.Option("--ways", help="Labels of an episode; the recipe's by default.", min=2)]
Shots = Annotated[
    int | None, typer.Option("--shots", help="Support examples per label or user; the recipe's by default.", min=1)
]
Queries = Annotated[
    int | None,
    typer.Option("--queries", help="Test examples per label or user; the recipe's by default.", min=1),
]

Episodes = Annotated[int, typer.Option("--episodes", help="Test episodes, the same for all methods.", min=1)]
TuningEpisodes = Annotated[
    int, typer.Option("--tuning-episodes", help="Validation episodes on which baselines are tuned.", min=2)
]
Generate = Annotated[
    int,
    typer.Option(
        "--generate",
        metavar="N",
        help="BLEU and ROUGE-L of one text for each of the first N test episodes; slow, so try 50.",
        min=0,
    ),
]

# Text that a model writes.
MaxTokens = Annotated[int, typer.Option("--max-tokens", help="The largest number of tokens to write.", min=1)]
Temperature = Annotated[float, typer.Option("--temp", help="Sampling temperature; 0 takes the likeliest token.", min=0)]

# Flags of version 0.1 and their new names; a command that has the new one says so.
RENAMED = {
    "--about": "--description",
    "--base": "--model",
    "--chunk": "--labels-per-task",
    "--keep": "--store-examples",
    "--margin": "--max-forgetting",
    "--other-weights": "--allow-other-weights",
    "--pairs": "--repeats",
    "--protocol": "--scenario",
    "--track": "--logger",
}
# Values that were renamed along with their flag.
VALUES = {"--protocol": {"known": "task-incremental", "all": "class-incremental"}}
_RESUMES = "is gone: the command shows how much is left, and goes on where it was stopped"
# Flags of version 0.1 that one command had and that have no new name: what to do instead.
REMOVED = {
    ("adapt", "--users"): "is a command of its own now: melpa adapt-all FILE",
    ("bench continual", "--estimate"): _RESUMES,
    ("bench few-shot", "--estimate"): _RESUMES,
}


def renamed(command: str, flag: str, known: Container[str]) -> str | None:
    """What replaces an old flag of a command, as a sentence; None for flags that are known or never were.

    `command` is the name below melpa, such as "bench speed"; `known` are the command's own flags.
    """
    if flag in known:
        return None
    if (command, flag) in REMOVED:
        return f"{flag} {REMOVED[command, flag]}"
    new = RENAMED.get(flag)
    if new is None or new not in known:
        return None
    values = ", ".join(f"{before} is {after}" for before, after in VALUES.get(flag, {}).items())
    return f"{flag} is now {new}" + (f" ({values})" if values else "")


def number_of_steps(text: str) -> int | Literal["auto"]:
    """The value of --steps; raises RecipeError for anything but "auto" and a number up to 1000."""
    from mlx_melpa.errors import RecipeError

    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) <= 1000:
        return int(text)
    raise RecipeError(f"--steps {text}: give auto, or a number from 0 to 1000")


def names(text: str | None) -> tuple[str, ...]:
    """The parts of a list with commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
