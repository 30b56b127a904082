"""`melpa label`: a user's own labels for texts."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import command, json_out, out, table
from .options import AllowOtherWeights, Json, Model, User

if TYPE_CHECKING:
    from mlx_melpa.core.types import Example


@command
def label(
    text: Annotated[str, typer.Argument(help="A text, or a file of texts.", metavar="TEXT|FILE")],
    user: User,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
    json: Json = False,
) -> None:
    """Give a text this user's own labels, with probabilities."""
    from os.path import expanduser, isfile

    from mlx_melpa.core.types import Example
    from mlx_melpa.data.readers import named_like_a_file, read_examples
    from mlx_melpa.errors import DataError
    from mlx_melpa.personal.predict import answer
    from mlx_melpa.personal.resolve import BaseChoice, load_user
    from mlx_melpa.store import Store, check_id

    if not text.strip():
        raise DataError("the text is blank; give a text, or a file of texts")
    if len(text) < 1000 and "\n" not in text and (isfile(expanduser(text)) or named_like_a_file(text)):
        examples = [_plain(record.example) for record in read_examples(text)]
    else:
        examples = [Example(text)]
    with Store() as store:
        run, version = load_user(store, check_id(user), BaseChoice(model, allow_other_weights))
    found = answer(run, version, examples)
    ranked = [sorted(zip(version.labels, map(float, row), strict=True), key=lambda pair: -pair[1]) for row in found]
    if json:
        answers = [
            {"text": example.text, "label": pairs[0][0], "probabilities": dict(pairs)}
            for example, pairs in zip(examples, ranked, strict=True)
        ]
        json_out(answers)
    elif len(examples) == 1:
        for name, share in ranked[0]:
            out(f"{share:5.1%}  {name}")
    else:
        rows = [(p[0][0], f"{p[0][1]:.0%}", e.text) for e, p in zip(examples, ranked, strict=True)]
        table(("label", "probability", "text"), rows)


def _plain(example: "Example") -> "Example":
    """The text of a row; raises DataError for dialogues and prompts with completions."""
    from mlx_melpa.core.types import Example
    from mlx_melpa.errors import DataError

    if example.messages or (example.text and example.target):
        what = "messages" if example.messages else "a prompt with its completion"
        raise DataError(f'{example.source}: this row holds {what}, and labels are for one text; give {{"text": "..."}}')
    return Example(example.target or example.text)
