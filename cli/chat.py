"""`melpa chat`: a conversation with a person's adapted model."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import ask, command, note, out, stream
from .options import AllowOtherWeights

if TYPE_CHECKING:
    from mlx_melpa.personal.generation import Speaker

COMMANDS = "/base compares with the base, /strength 0 to 1 scales the adapter, /quit ends"


@command
def chat(
    user: Annotated[str, typer.Option(help="Whose adapter.", show_default=False)],
    max_tokens: Annotated[int, typer.Option(help="The most tokens of an answer.", min=1)] = 200,
    temp: Annotated[float, typer.Option(help="Temperature; 0 takes the likeliest token.", min=0)] = 0.7,
    seed: Annotated[int, typer.Option(help="Where chance begins.", min=0)] = 0,
    base: Annotated[str | None, typer.Option(help="Another copy of the base model.")] = None,
    allow_other_weights: AllowOtherWeights = False,
) -> None:
    """Talk to the adapted model, and compare with the base."""
    from mlx_melpa.personal.generation import Speaker
    from mlx_melpa.personal.resolve import opened
    from mlx_melpa.store import Store, check_id

    with Store() as store:
        run, version = opened(store, check_id(user), base=base, other_weights=allow_other_weights)
    speaker = Speaker(run, version, max_tokens=max_tokens, temp=temp, seed=seed)
    note(f"version {version.number} of '{version.user}'; {COMMANDS}")
    compare = False
    turns: list[tuple[str, str]] = []
    while (line := ask("> ")) is not None and line != "/quit":
        if line == "/base":
            compare = not compare
            note("the base answers too" if compare else "the base is silent")
        elif line.startswith("/"):
            _set(speaker, line)
        elif line:
            turns = [*(turns if speaker.dialogue else []), ("user", line)]
            if compare:
                out("base:")
                stream(speaker.write(turns, adapted=False))
                out(f"{version.user}:")
            turns.append(("assistant", stream(speaker.write(turns))))


def _set(speaker: "Speaker", line: str) -> None:
    name, _, text = line.partition(" ")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if name == "/strength" and 0 <= value <= 1:
        speaker.strength = value
        note(f"strength {value:g}")
    else:
        note(f"{line}: unknown; {COMMANDS}")
