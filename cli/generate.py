"""`melpa generate`: text from a user's adapted model."""

from typing import Annotated

import typer

from .console import command, json_out, note, out, stream
from .options import AllowOtherWeights, Json, MaxTokens, Model, Seed, Temperature, User

FOR_LABELS = "was adapted to labels, not to writing: use melpa label"


@command
def generate(
    prompt: Annotated[str, typer.Argument(help="What to go on from.")],
    user: User,
    max_tokens: MaxTokens = 200,
    temp: Temperature = 0.7,
    seed: Seed = 0,
    strength: Annotated[float, typer.Option(help="0 is the base, 1 the adapter.", min=0, max=1)] = 1.0,
    compare: Annotated[bool, typer.Option("--compare", help="Show the base's answer first.")] = False,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
    json: Json = False,
) -> None:
    """Write as this user's adapted model."""
    from mlx_melpa.personal.generation import Generator
    from mlx_melpa.personal.resolve import BaseChoice, load_user
    from mlx_melpa.store import Store, check_id

    with Store() as store:
        run, version = load_user(store, check_id(user), BaseChoice(model, allow_other_weights))
    writer = Generator(run, version, max_tokens=max_tokens, temp=temp, seed=seed)
    writer.strength = strength
    turns = [("user", prompt)]
    if version.labels:
        note(f"version {version.number} of '{version.user}' {FOR_LABELS}")
    if json:
        texts = {"text": "".join(writer.write(turns))}
        texts |= {"base": "".join(writer.write(turns, adapted=False))} if compare else {}
        json_out({"user": version.user, "version": version.number, "prompt": prompt, "strength": strength} | texts)
        return
    if compare:
        out("base:")
        stream(writer.write(turns, adapted=False))
        out(f"\n{version.user}:")
    stream(writer.write(turns))
