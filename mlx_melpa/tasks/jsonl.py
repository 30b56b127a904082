"""Tasks from example files."""

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
    """Reads tasks from files and splits them by group, by user, else by label.

    Without `test` and `hold_out` a fifth of the keys is held out. Raises DataError.

    Use it when you have labelled texts, or texts of many people, in .jsonl, .csv or .txt files or a folder of them.
    Not when there is only one task: meta-training needs many; adapt to it with melpa adapt.

    train: files or folders with examples of many tasks.
    test: files of the test tasks; without it some keys of `train` are held out.
    group: the field that makes a task; the user or the label by default.
    label: the field of the label.
    about: the field that describes a row's group; a group's rows may leave it out. By default, a field "about"
        that has the same text in all rows of a group.
    """
    for key, named in (("train", train), ("test", test or [])):
        for path in [named] if isinstance(named, str) else named:
            if not Path(path).expanduser().exists():
                raise DataError(f"{path}: no such file; name yours with: --set tasks.{key}=PATH")
    records = read_examples(train, group=group, label=label, about=about)
    if about and not any(record.description for record in records):
        raise DataError(
            f"tasks.about: no row of {train} has a field '{about}'; name one that is there, or leave it out"
        )
    tests = None if test is None else read_examples(test, group=group, label=label, about=about)
    return split(records, tasks, tests)
