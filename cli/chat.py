"""`melpa chat`: a conversation with a user's adapted model."""

from typing import TYPE_CHECKING

from .console import ask, command, note, out, stream
from .options import AllowOtherWeights, MaxTokens, Model, Seed, Temperature, User

if TYPE_CHECKING:
    from mlx_melpa.personal.generation import Generator

COMMANDS = "/base compares with the base, /strength 0 to 1 scales the adapter, /quit ends"


@command
def chat(
    user: User,
    max_tokens: MaxTokens = 200,
    temp: Temperature = 0.7,
    seed: Seed = 0,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
) -> None:
    """Talk to the adapted model, and compare with the base."""
    from mlx_melpa.personal.generation import Generator
    from mlx_melpa.personal.resolve import BaseChoice, load_user
    from mlx_melpa.store import Store, check_id

    with Store() as store:
        run, version = load_user(store, check_id(user), BaseChoice(model, allow_other_weights))
    writer = Generator(run, version, max_tokens=max_tokens, temp=temp, seed=seed)
    note(f"version {version.number} of '{version.user}'; {COMMANDS}")
    compare = False
    turns: list[tuple[str, str]] = []
    while (line := ask("> ")) is not None and line != "/quit":
        if line == "/base":
            compare = not compare
            note("the base's answer is shown first" if compare else "the base's answer is not shown")
        elif line.startswith("/"):
            _set(writer, line)
        elif line:
            turns = [*(turns if writer.dialogue else []), ("user", line)]
            if compare:
                out("base:")
                stream(writer.write(turns, adapted=False))
                out(f"{version.user}:")
            turns.append(("assistant", stream(writer.write(turns))))


def _set(writer: "Generator", line: str) -> None:
    name, _, text = line.partition(" ")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if name == "/strength" and 0 <= value <= 1:
        writer.strength = value
        note(f"strength {value:g}")
    else:
        note(f"{line}: unknown; {COMMANDS}")
