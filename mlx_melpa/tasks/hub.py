"""Tasks from a data set of the `datasets` library: a hub name or a local folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.types import Splits
from ..data.readers import Row, records
from ..errors import DataError
from .splits import SplitSettings
from .splits import split as split_tasks


def hub(
    *,
    name: str,
    split: str = "train",
    subsets: list[str] | None = None,
    columns: dict[str, str | list[str]] = {},  # noqa: B006 (read only; a recipe shows it as the default)
    group: str | None = None,
    label: str | None = None,
    tasks: SplitSettings = SplitSettings(),  # noqa: B008 (frozen)
) -> Splits:
    """Reads tasks from a data set of the `datasets` library and splits them as `jsonl` does; raises DataError.

    Use it when the data set is on the Hugging Face hub, or was written by `save_to_disk`.
    Not when there is no network and no copy on disk.

    name: the hub name, or the folder.
    split: the split that is read.
    subsets: configurations of the data set, or folders within it; of several, each becomes a group.
    columns: our field names mapped to theirs, {"text": "sentence", "label": "intent"}; of a list, the columns that are
        there are joined by lines.
    Other settings: as `jsonl`.
    """
    rows: list[Row] = []
    wanted: list[str | None] = [*subsets] if subsets else [None]
    for subset in wanted:
        found = _rows(f"{name}{f'/{subset}' if subset else ''}[{split}]", _data(name, subset, split), columns)
        rows += [(source, {**fields, "subset": subset}) for source, fields in found] if subset else list(found)
    group = group or ("subset" if len(subsets or ()) > 1 else None)
    return split_tasks(records(rows, group=group, label=label), tasks)


def _data(name: str, subset: str | None, split: str) -> Any:
    import datasets  # seconds to import, and only this kind needs it

    try:
        if not Path(name).expanduser().is_dir():
            return datasets.load_dataset(name, *filter(None, [subset]), split=split)
        data = datasets.load_from_disk(str(Path(name).expanduser() / (subset or "")))
    except Exception as error:  # the library and its network clients raise types of their own
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"data set '{name}' can't be had ({type(error).__name__}: {reason}): offline, or a wrong name or split; "
            "give a local folder that save_to_disk wrote"
        ) from error
    if not isinstance(data, datasets.DatasetDict):
        return data
    if split not in data:
        raise DataError(f"data set '{name}' has no split '{split}'; use one of {', '.join(map(str, data))}")
    return data[split]


def _rows(place: str, data: Any, columns: dict[str, str | list[str]]) -> Iterator[Row]:
    chosen: dict[str, list[str]] = {}
    for ours, theirs in columns.items():
        wanted = [theirs] if isinstance(theirs, str) else theirs
        chosen[ours] = [column for column in wanted if column in data.column_names]
        if not chosen[ours]:
            there = ", ".join(data.column_names)
            raise DataError(f"{place}: has no column '{' or '.join(wanted)}' for '{ours}'; there are: {there}")
    if not len(data):
        raise DataError(f"{place}: holds no rows; choose another split")
    taken = {column for theirs in chosen.values() for column in theirs}
    chosen |= {column: [column] for column in data.column_names if column not in {*taken, *columns}}
    names = {column: getattr(data.features[column], "names", None) or () for column in data.column_names}
    for number, row in enumerate(data):
        fields = {ours: _joined([_named(row[c], names[c]) for c in theirs]) for ours, theirs in chosen.items()}
        yield f"{place}:{number}", fields


def _joined(values: list[object]) -> object:
    return values[0] if len(values) == 1 else "\n".join(str(value) for value in values)


def _named(value: object, classes: Sequence[str]) -> object:
    """Gives the name of a class where a column holds numbers of classes; -1 stands for none."""
    return (classes[value] if value >= 0 else None) if classes and isinstance(value, int) else value
