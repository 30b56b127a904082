"""Tasks from example files of one's own."""

from pathlib import Path
from typing import Annotated

from ..core.bounds import Bounds, Count, Natural, Share
from ..core.types import Splits
from ..data.readers import read_examples
from ..errors import DataError
from .splits import split


def jsonl(
    *,
    train: str | list[str],
    test: str | list[str] | None = None,
    group: str | None = None,
    label: str | None = None,
    about: str | None = None,
    ways: Annotated[int, Bounds(2)] | None = 5,
    shots: Count = 5,
    queries: Count | None = 5,
    hold_out: list[str] | Share | None = None,
    validation: list[str] | Share = 0.1,
    seed: Natural = 0,
) -> Splits:
    """Reads tasks from files (see `files.read_examples`) and splits them by group, by user, else by label.

    `hold_out` and `validation` are names or a share of the keys; without `test` and `hold_out` a fifth is held out.
    `ways` None takes all labels of a group, `queries` None all the examples that are left. `about` names the field that
    describes a row's group; a group's rows may leave it out. Without it "about" does where it is the same text in all
    rows of a group that have it. Raises DataError.
    """
    for key, named in (("train", train), ("test", test or [])):
        for path in [named] if isinstance(named, str) else named:
            if not Path(path).expanduser().exists():
                raise DataError(f"{path}: no such file; name yours with: --set tasks.{key}=PATH")
    records = read_examples(train, group=group, label=label, about=about)
    if about and not any(record.about for record in records):
        raise DataError(
            f"tasks.about: no row of {train} has a field '{about}'; name one that is there, or leave it out"
        )
    return split(
        records,
        None if test is None else read_examples(test, group=group, label=label, about=about),
        ways=ways,
        shots=shots,
        queries=queries,
        hold_out=hold_out,
        validation=validation,
        seed=seed,
    )
