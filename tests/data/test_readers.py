"""Every form of row is read, and every bad file is refused by a sentence with file and line."""

import gzip
import json
from pathlib import Path

import pytest

from mlx_melpa.core.types import Example
from mlx_melpa.data.readers import Record, read_examples
from mlx_melpa.errors import DataError


def lines(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_each_form_of_row_becomes_its_example(tmp_path: Path) -> None:
    def first(row: object, **named: str) -> Record:
        return read_examples(lines(tmp_path / "a.jsonl", row), **named)[0]

    at = f"{tmp_path}/a.jsonl:1"
    assert first({"text": "hi", "label": "x"}) == Record(Example("hi", label="x", source=at))
    assert first({"text": "hi", "label": 3}).example.label == "3"
    assert first({"prompt": "p", "completion": "c"}) == Record(Example("p", target="c", source=at))
    assert first({"user": "me", "text": "t", "context": "c"}) == Record(Example("c", target="t", source=at), "me")
    assert first({"user": "me", "text": "t", "context": None}) == Record(Example("", target="t", source=at), "me")
    assert first({"text": "alone"}) == Record(Example("", target="alone", source=at))
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert first({"messages": turns}).example.messages == (("user", "q"), ("assistant", "a"))
    told = {"text": "t", "about": "a cook", "bio": "a nurse"}
    assert (first(told).description, first(told, about="bio").description, first(told, about="job").description) == (
        "a cook",
        "a nurse",
        "",
    )
    assert first({"text": "t", "about": None}).description == first({"text": "t", "about": ""}).description == ""
    assert [first({"text": "t", "about": other}).description for other in (3, ["a"], " ", "\ud800")] == [""] * 4
    with pytest.raises(DataError, match="field 'about' is a number; give it as text"):
        first({"text": "t", "about": 3}, about="about")
    kinds = first({"text": "t", "about": 3}, label="about")
    assert (kinds.example.label, kinds.description) == ("3", "")
    named = first({"text": "hi", "intent": "x", "domain": "d", "label": "no"}, group="domain", label="intent")
    assert (named.group, named.example.label) == ("d", "x")


def test_json_lines_skip_blank_lines_but_count_them(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(
        b'\xef\xbb\xbf\n{"text": "a\xe2\x80\xa8b"}\r\n\n{"text": "b"}\n'
    )  # BOM, and a line separator inside
    assert [(r.example.target, r.example.source) for r in read_examples(path)] == [
        ("a\u2028b", f"{path}:2"),
        ("b", f"{path}:4"),
    ]


def test_text_is_one_example_a_line_or_a_paragraph(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\r\ntwo\n")
    assert [r.example.target for r in read_examples(path)] == ["one", "two"]
    path.write_text("\none\nstill one\n\n\ntwo\n")
    assert [(r.example.target, r.example.source[-2:]) for r in read_examples(path)] == [
        ("one\nstill one", ":2"),
        ("two", ":6"),
    ]


def test_csv_rows_may_span_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",x\n"a, b",y\n')
    found = [(r.example.text, r.example.label, r.example.source[-2:]) for r in read_examples(path)]
    assert found == [("two\nlines", "x", ":2"), ("a, b", "y", ":4")]
    path.write_text("text,context\nanswer,question\nalone,\n")
    assert [(r.example.text, r.example.target) for r in read_examples(path)] == [("question", "answer"), ("", "alone")]


def test_folders_lists_and_gzip_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    lines(tmp_path / "set" / "b.jsonl", {"text": "b", "label": "x"})
    with gzip.open(tmp_path / "set" / "a.jsonl.gz", "wt") as file:
        file.write('{"text": "a", "label": "x"}\n')
    (tmp_path / "set" / "README.md").write_text("no examples")
    other = lines(tmp_path / "c.jsonl", {"text": "c", "label": "y"})
    assert [r.example.text for r in read_examples([tmp_path / "set", other])] == ["a", "b", "c"]
    assert [r.group for r in read_examples([tmp_path / "set", str(other)], group="file")] == ["a", "b", "c"]
    assert [r.group for r in read_examples([tmp_path / "set"], group="folder")] == ["set", "set"]


BAD = {
    "malformed": (b'{"text": "a"}\n{"text": ', "a.jsonl:2: malformed JSON (Expecting value); write one JSON object"),
    "deep": (b"[" * 100_000, "a.jsonl:1: malformed JSON"),
    "list": (b'["text"]', "a.jsonl:1: is a list; write one object per line"),
    "missing": (b'{"txt": "a"}', "a.jsonl:1: has no field 'text', only: txt; give text and label"),
    "half pair": (b'{"prompt": "a"}', "a.jsonl:1: has no field 'completion', only: prompt"),
    "type": (b'{"text": ["a"], "label": "x"}', "a.jsonl:1: field 'text' is a list; give it as text"),
    "null label": (b'{"text": "a", "label": null}', "a.jsonl:1: field 'label' is null"),
    "true label": (b'{"text": "a", "label": true}', "a.jsonl:1: field 'label' is true or false"),
    "blank": (b'{"text": " ", "label": "x"}', "a.jsonl:1: field 'text' is blank; fill it or remove the row"),
    "surrogate": (b'{"text": "\\ud800", "label": "x"}', "a.jsonl:1: field 'text' holds half a character"),
    "encoding": ('{"text": "a"}\n{"text": "é"}'.encode("latin-1"), "a.jsonl:2: is not UTF-8; save the file as UTF-8"),
    "utf-16": ('{"text": "a"}'.encode("utf-16"), "a.jsonl:1: is not UTF-8"),
    "empty": (b"", "a.jsonl: holds no examples; give rows with text and label"),
    "mixture": (
        b'{"text": "a", "label": "x"}\n\n{"text": "a"}',
        "a.jsonl:3: has text, but {file}:1 has text and label; give every row the same fields",
    ),
    "some users": (b'{"text": "a", "user": "x"}\n{"text": "a"}', "a.jsonl:2: has text, but {file}:1 has text, by user"),
    "turns": (b'{"messages": "hi"}', "a.jsonl:1: field 'messages' is not a list of objects"),
    "role": (b'{"messages": [{"role": "bot", "content": "x"}]}', "a.jsonl:1: role 'bot' in messages is unknown"),
    "no answer": (b'{"messages": [{"role": "user", "content": "x"}]}', "a.jsonl:1: messages have no assistant turn"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_json_lines_are_refused(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    assert f"{tmp_path}/{message}".replace("{file}", str(path)) in str(caught.value)


def test_named_fields_must_be_there(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"text": "a", "label": "x", "domain": "d"}, {"text": "b", "label": "x"})
    with pytest.raises(DataError, match=r"a.jsonl:2: has no field 'domain', only: text, label; add it to every row"):
        read_examples(path, group="domain")
    with pytest.raises(DataError, match=r"a.jsonl:1: has no field 'intent', only: text, label, domain"):
        read_examples(path, label="intent")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for name, content, message in [
        ("a.pdf", b"x", "its ending '.pdf' is unknown; use .jsonl, .json, .txt, .csv, plain or .gz"),
        ("a.jsonl.gz", b"not gzip", "can't be read"),
        ("b.jsonl.gz", gzip.compress(b"x" * 1000)[:-9], "can't be read"),
        ("a.csv", b"text,label\na,b,c\n", "a.csv:2: has 3 cells, the header 2; quote cells with commas"),
        ("b.csv", b'text,label\n"a,b\n', "b.csv:2: malformed CSV"),
        ("c.csv", b"hello,there\nyou,too\n", "c.csv:2: has no field 'text', only: hello, there"),
        ("d.csv", b"text,label\n", "d.csv: holds no examples"),
        ("e.txt", b" \n\n", "e.txt: holds no examples"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_examples(tmp_path / name)
        assert message in str(caught.value)
    with pytest.raises(DataError, match=r"gone.jsonl: no such file; check the path"):
        read_examples(tmp_path / "gone.jsonl")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none: this folder holds no .jsonl"):
        read_examples(tmp_path / "none")
    with pytest.raises(DataError, match=r"no file of examples is named"):
        read_examples([])
