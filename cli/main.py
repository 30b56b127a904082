"""The command `melpa`: a table of commands, each imported only when it is called."""

from importlib import import_module
from itertools import takewhile
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from .options import renamed

MAIN, USER, CHECKS = "The main job", "One user", "Recipes and checks"


class Entry(NamedTuple):
    """Where a command lives: `module` holds a function, or a sub-app, of the same name."""

    module: str
    panel: str
    help: str


COMMANDS = {
    "quickstart": Entry("quickstart", MAIN, "See the whole job once, offline, in a few minutes."),
    "prepare": Entry("prepare", MAIN, "Meta-train for any base model from what is at hand."),
    "meta-train": Entry("meta_train", MAIN, "Learn how to adapt, over many tasks or people."),
    "adapt": Entry("adapt", MAIN, "Adapt to one user's examples, in seconds."),
    "adapt-all": Entry("adapt_all", MAIN, "Adapt to all users of a file, in batches."),
    "export": Entry("export", MAIN, "Write a user's adapter for mlx-lm and other tools."),
    "eval": Entry("eval_", MAIN, "Measure a run on unseen tasks, beside the baselines."),
    "label": Entry("label", USER, "Give a text this user's own labels."),
    "generate": Entry("generate", USER, "Write as this user's adapted model."),
    "chat": Entry("chat", USER, "Talk to the adapted model, and compare with the base."),
    "score": Entry("score", USER, "Measure how well the adapter fits a file."),
    "recommend": Entry("recommend", USER, "Say which run and which method suit new data."),
    "users": Entry("users", USER, "List, show, roll back, prune or remove stored adapters."),
    "import": Entry("import_", USER, "Read an exported adapter into the store."),
    "recipes": Entry("recipes", CHECKS, "List the packaged recipes, or copy one."),
    "explain": Entry("explain", CHECKS, "Explain a recipe's key, kind or setting."),
    "validate": Entry("validate", CHECKS, "Check a recipe and show every setting."),
    "verify": Entry("verify", CHECKS, "Compare each learner's gradients with finite differences."),
    "bench": Entry("bench", CHECKS, "Measure speed, few-shot accuracy and continual learning."),
    "doctor": Entry("doctor", CHECKS, "Say what this machine has, and what would speed it up."),
}


def load(name: str) -> Any:
    """Imports the command `name` from its own file."""
    entry = COMMANDS[name]
    built = getattr(import_module(f".{entry.module}", __package__), entry.module)
    if isinstance(built, typer.Typer):
        group = typer.main.get_group(built)
        group.name = name
        return group
    single = typer.Typer(add_completion=False)
    single.command(name, help=built.__doc__ or entry.help)(built)
    return typer.main.get_command(single)


class Lazy(TyperGroup):
    """Lists commands from the table, and imports only the one that is called."""

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.help, rich_help_panel=entry.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        command = load(name) if name in COMMANDS else None
        if command is not None:
            _refuse_renamed(ctx, command, rest)
        return name, command, rest


def _refuse_renamed(ctx: Any, command: Any, words: list[str]) -> None:
    """Ends in a usage error that names the new flag where an old one is given."""
    path, flags = [command.name], words
    while isinstance(command, TyperGroup) and flags and flags[0] in command.commands:
        command, path, flags = command.commands[flags[0]], [*path, flags[0]], flags[1:]
    known = {flag for parameter in command.params for flag in parameter.opts}
    for word in takewhile(lambda word: word != "--", flags):
        text = renamed(" ".join(path), word.partition("=")[0], known)
        if text is not None:
            ctx.fail(text)


app = typer.Typer(
    cls=Lazy,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from mlx_melpa import __version__

        from .console import out

        out(f"melpa {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Learn how to adapt a language model, then adapt it to one person in seconds.

    Begin with: melpa quickstart
    """
