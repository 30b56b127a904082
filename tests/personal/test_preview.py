"""A dry run: what it counts, and examples that are refused."""

from dataclasses import replace

import pytest
from toys.notes import HOME, NOTES

from mlx_melpa.core.types import Example
from mlx_melpa.errors import DataError
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.preview import preview
from mlx_melpa.store.run import Run


def test_look_counts_what_is_supervised_cut_and_twice(sorting: Run, writing: Run) -> None:
    long = Example("word " * 300, label="home")
    seen = preview(sorting, [*NOTES, NOTES[0], long, Example(HOME[0], label="work"), Example("x", label="rare")])
    assert (seen.examples, seen.duplicates, seen.conflicts, seen.cut) == (14, 1, 1, 1)
    assert seen.labels == {"home": 6, "work": 6, "rare": 1} and seen.single == ("rare",) and seen.form == "labels"
    one = [Example("", target="ab")]
    readout = writing.setup.parts.problem.readout
    seen = preview(writing, one)
    assert seen.supervised == len(readout.encoder.ids("ab")) + len(readout.encoder.last) and seen.form == "lines"
    assert seen.tokens == seen.supervised + len(readout.encoder.first)


def test_a_dry_run_refuses_what_an_adaptation_does(sorting: Run) -> None:
    first = replace(adapt_user(sorting, NOTES, steps=0).version, user="me", number=1)
    for given, previous in ((NOTES[:3], None), (NOTES, first)):
        with pytest.raises(DataError) as dry:
            preview(sorting, given, previous)
        with pytest.raises(DataError) as wet:
            adapt_user(sorting, given, previous=previous)
        assert str(dry.value) == str(wet.value)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([Example("x", target="y", source="f:3")], "f:3: run 'random start' gives labels, and this has none"),
        (NOTES[:5], "all 5 examples have the label 'home'; give examples of another one too"),
    ],
)
def test_examples_that_do_not_fit_are_named(sorting: Run, examples: list[Example], message: str) -> None:
    with pytest.raises(DataError) as error:
        adapt_user(sorting, examples)
    assert message in str(error.value)


def test_a_place_outlives_what_is_there_twice(writing: Run) -> None:
    said = Example("", messages=(("user", "hi"), ("assistant", "hello")), source="a.jsonl:1")
    with pytest.raises(DataError, match=r"^a.jsonl:1: 'messages' need a tokenizer with a chat template"):
        adapt_user(writing, [said, replace(said, source="a.jsonl:2")])


def test_labels_are_refused_by_a_run_that_writes(writing: Run) -> None:
    with pytest.raises(DataError, match="writes text, and this has a label"):
        adapt_user(writing, NOTES)
