"""`melpa generate`: text from a person's adapted model."""

from typing import Annotated

import typer

from .console import command, json_out, note, out, stream
from .options import AllowOtherWeights, Json

FOR_LABELS = "was made for labels, not for writing: melpa label is what it does best"


@command
def generate(
    prompt: Annotated[str, typer.Argument(help="What to go on from.")],
    user: Annotated[str, typer.Option(help="Whose adapter.", show_default=False)],
    max_tokens: Annotated[int, typer.Option(help="The most tokens to write.", min=1)] = 200,
    temp: Annotated[float, typer.Option(help="Temperature; 0 takes the likeliest token.", min=0)] = 0.7,
    seed: Annotated[int, typer.Option(help="Where chance begins.", min=0)] = 0,
    strength: Annotated[float, typer.Option(help="0 is the base, 1 the adapter.", min=0, max=1)] = 1.0,
    compare: Annotated[bool, typer.Option("--compare", help="Show the base's answer first.")] = False,
    base: Annotated[str | None, typer.Option(help="Another copy of the base model.")] = None,
    allow_other_weights: AllowOtherWeights = False,
    json: Json = False,
) -> None:
    """Write as this person's adapted model."""
    from mlx_melpa.personal.generation import Speaker
    from mlx_melpa.personal.resolve import opened
    from mlx_melpa.store import Store, check_id

    with Store() as store:
        run, version = opened(store, check_id(user), base=base, other_weights=allow_other_weights)
    speaker = Speaker(run, version, max_tokens=max_tokens, temp=temp, seed=seed)
    speaker.strength = strength
    turns = [("user", prompt)]
    if version.labels:
        note(f"version {version.number} of '{version.user}' {FOR_LABELS}")
    if json:
        texts = {"text": "".join(speaker.write(turns))}
        texts |= {"base": "".join(speaker.write(turns, adapted=False))} if compare else {}
        json_out({"user": version.user, "version": version.number, "prompt": prompt, "strength": strength} | texts)
        return
    if compare:
        out("base:")
        stream(speaker.write(turns, adapted=False))
        out(f"\n{version.user}:")
    stream(speaker.write(turns))
