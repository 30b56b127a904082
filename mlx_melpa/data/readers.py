"""Readers of example files (JSON lines, CSV, plain text), which keep the file and line of each example."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ..core.types import Example
from ..errors import DataError

Fields = dict[str, Any]
Row = tuple[str, Fields]
FORMS = "text and label, prompt and completion, messages, or user and text"
FIELDS = ("text", "label", "prompt", "completion", "role", "content")
ROLES = ("system", "user", "assistant", "tool")
JSON_WORDS = {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True)
class Record:
    """One example and its group (task, user, data set); None if the rows name no group.

    `description` describes the group; "" where this row has none.
    """

    example: Example
    group: str | None = None
    description: str = ""


def read_examples(
    paths: str | Path | Sequence[str | Path],
    *,
    group: str | None = None,
    label: str | None = None,
    about: str | None = None,
) -> list[Record]:
    """Reads .jsonl, .json (one object a line), .csv and .txt files, plain or .gz, folders of them, or a list of these.

    `group`, `label` and `about` (the description of the row's group) name fields. By default the fields "user", "label"
    and "about" are used if rows have them; such an "about" counts only if it is text and the same within each group.
    Two groups need no field: "file" (the file's name without endings) and "folder" (the name of its folder).
    Raises DataError with file and line.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    rows: list[Row] = []
    for file in (file for path in given for file in _files(Path(path).expanduser())):
        place = {"file": file.name.split(".")[0], "folder": file.resolve().parent.name}
        found = [(source, place | fields) for source, fields in READERS[_ending(file)](file, _text(file))]
        if not found:
            raise DataError(f"{file}: holds no examples; give rows with {FORMS}")
        rows += found
    if not rows:
        raise DataError("no file of examples is named; give a .jsonl, .csv or .txt file, or a folder of them")
    return records(rows, group=group, label=label, about=about)


def records(
    rows: Iterable[Row], *, group: str | None = None, label: str | None = None, about: str | None = None
) -> list[Record]:
    """Turns (source, fields) rows of one form into records; raises DataError naming the source."""
    made: list[Record] = []
    first: tuple[str, str] | None = None
    for source, fields in rows:
        form, record = _record(source, fields, group, label, about)
        first = first or (source, form)
        if form != first[1]:
            raise DataError(f"{source}: has {form}, but {first[0]} has {first[1]}; give every row the same fields")
        made.append(record)
    return made if about else _consistent(made)


def _consistent(made: list[Record]) -> list[Record]:
    """Removes descriptions that differ within a group: their field was not named, and is no description."""
    words: dict[str | None, set[str]] = {}
    for record in made:
        words.setdefault(record.group, set()).add(record.description)
    varied = {group for group, found in words.items() if len(found - {""}) > 1}
    return [replace(record, description="") if record.group in varied else record for record in made]


def _record(source: str, fields: Fields, group: str | None, label: str | None, about: str | None) -> tuple[str, Record]:
    group = group or ("user" if "user" in fields else None)
    name = _name(source, fields, group) if group else None
    if label is None and "label" in fields and "text" in fields:
        label = "label"
    if label:
        form = f"text and {label}"
        example = Example(_words(source, fields, "text"), label=_name(source, fields, label), source=source)
    elif "messages" in fields:
        form = "messages"
        example = Example("", messages=_messages(source, fields["messages"]), source=source)
    elif "prompt" in fields or "completion" in fields:
        form = "prompt and completion"
        prompt, completion = _words(source, fields, "prompt"), _words(source, fields, "completion")
        example = Example(prompt, target=completion, source=source)
    else:
        form = "text"
        example = Example(_optional(source, fields, "context"), target=_words(source, fields, "text"), source=source)
    if about:
        description = _optional(source, fields, about)
    else:
        description = "" if "about" in (group, label) else _unnamed_description(source, fields)
    return form + (f", by {group}" if group else ""), Record(example, name, description)


def _optional(source: str, fields: Fields, field: str) -> str:
    """The text of a field that a row may leave out."""
    return "" if fields.get(field) in (None, "") else _words(source, fields, field)


def _unnamed_description(source: str, fields: Fields) -> str:
    """The text of a field "about" that was not named as a description; "" if it holds no text."""
    try:
        return _optional(source, fields, "about")
    except DataError:
        return ""


def _words(source: str, fields: Fields, field: str) -> str:
    if field not in fields:
        there = ", ".join(key for key in fields if key not in ("file", "folder"))
        remedy = f"give {FORMS}" if field in FIELDS else "add it to every row, or name a field that is there"
        raise DataError(f"{source}: has no field '{field}', only: {there or 'none'}; {remedy}")
    value = fields[field]
    if not isinstance(value, str):
        raise DataError(f"{source}: field '{field}' is {JSON_WORDS.get(type(value), 'null')}; give it as text")
    if not value.strip():
        raise DataError(f"{source}: field '{field}' is blank; fill it or remove the row")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no tokenizer takes
        raise DataError(f"{source}: field '{field}' holds half a character (\\ud800 to \\udfff); remove it") from None
    return value


def _name(source: str, fields: Fields, field: str) -> str:
    value = fields.get(field)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole else _words(source, fields, field)


def _messages(source: str, turns: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise DataError(f"{source}: field 'messages' is not a list of objects; give role and content in each")
    made = tuple((_words(source, turn, "role"), _words(source, turn, "content")) for turn in turns)
    for role, _ in made:
        if role not in ROLES:
            raise DataError(f"{source}: role '{role}' in messages is unknown; use one of {', '.join(ROLES)}")
    if all(role != "assistant" for role, _ in made):
        raise DataError(f"{source}: messages have no assistant turn to learn from; add one")
    return made


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.is_file() and f.name[0] != "." and _ending(f) in READERS)
        if not files:
            raise DataError(f"{path}: this folder holds no {', '.join(READERS)} file; name one that does")
        return files
    if not path.exists():
        raise DataError(f"{path}: no such file; check the path")
    if _ending(path) not in READERS:
        raise DataError(f"{path}: its ending '{path.suffix}' is unknown; use {', '.join(READERS)}, plain or .gz")
    return [path]


def named_like_a_file(text: str) -> bool:
    """True if a text is one word with the ending of an example file."""
    return not any(map(str.isspace, text)) and _ending(Path(text)) in READERS


def _ending(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read ({error}); check the file and its permissions") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: is not UTF-8; save the file as UTF-8 text") from None


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        source = f"{path}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "it can't be parsed"
            raise DataError(f"{source}: malformed JSON ({reason}); write one JSON object per line") from None
        if not isinstance(fields, dict):
            raise DataError(f"{source}: is {JSON_WORDS.get(type(fields), 'not an object')}; write one object per line")
        yield source, fields


def _txt(path: Path, text: str) -> Iterator[Row]:
    """One example per line; one per paragraph if there are blank lines."""
    lines = [line.strip() for line in text.split("\n")]
    paragraphs = not all(line.strip() for line in text.strip().split("\n"))
    for filled, block in groupby(enumerate(lines, 1), key=lambda pair: bool(pair[1])):
        if filled and paragraphs:
            numbers, words = zip(*block, strict=True)
            yield f"{path}:{numbers[0]}", {"text": "\n".join(words)}
        elif filled:
            yield from ((f"{path}:{number}", {"text": line}) for number, line in block)


def _csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            source, start = f"{path}:{start}", reader.line_num + 1
            if not any(cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                raise DataError(f"{source}: has {len(cells)} cells, the header {len(header)}; quote cells with commas")
            else:
                yield source, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{start}: malformed CSV ({error}); check the quotes") from None


READERS = {".jsonl": _json_lines, ".json": _json_lines, ".txt": _txt, ".csv": _csv}
