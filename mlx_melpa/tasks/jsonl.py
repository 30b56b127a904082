"""Tasks from example files of one's own."""

from pathlib import Path

from ..core.types import Splits
from ..data.readers import read_examples
from ..errors import DataError
from .splits import SplitSettings, split


def jsonl(
    *,
    train: str | list[str],
    test: str | list[str] | None = None,
    group: str | None = None,
    label: str | None = None,
    about: str | None = None,
    tasks: SplitSettings = SplitSettings(),  # noqa: B008 (frozen)
) -> Splits:
    """Reads tasks from files (see `read_examples`) and splits them by group, by user, else by label.

    `test` names files of test tasks, in place of `hold_out`. `about` names the field that describes a row's group; a
    group's rows may leave it out. Without it "about" does where it is the same text in all rows of a group that have
    it. Raises DataError.
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
    tests = None if test is None else read_examples(test, group=group, label=label, about=about)
    return split(records, tasks, tests)
