"""Streams: what stays the same over orders and seeds, and what may not overlap."""

from pathlib import Path

import pytest

from mlx_melpa.benchmarks.continual.tasks import Stream, stream_of_records
from mlx_melpa.core.types import Example
from mlx_melpa.data.readers import Record, read_examples
from mlx_melpa.errors import DataError


def records(tasks: int = 3, labels: int = 2, examples: int = 20) -> list[Record]:
    return [
        Record(Example(f"text {t} {c} {e}", label=f"label {t}{c}"), f"task {t}")
        for t in range(tasks)
        for c in range(labels)
        for e in range(examples)
    ]


def small() -> Stream:
    return stream_of_records(records(), shots=5, queries=6)


def test_train_and_test_are_disjoint_and_tuning_sees_neither() -> None:
    stream = small()
    tuned = stream.task("task 1", 0, tuning=True)
    for seed in range(5):
        task = stream.task("task 1", seed)
        assert (len(task.train), len(task.test)) == (2 * 5, 2 * 6)
        assert not set(task.train) & set(task.test)
        assert not {*task.train, *task.test} & {*tuned.train, *tuned.test}
    assert tuned.test and not set(tuned.train) & set(tuned.test)


def test_labels_stay_and_draws_depend_on_the_seed_alone() -> None:
    stream = small()
    assert stream.task("task 2", 3) == stream.task("task 2", 3)
    assert stream.task("task 2", 3).train != stream.task("task 2", 4).train
    assert stream.task("task 2", 3).labels == stream.task("task 2", 4).labels == ("label 20", "label 21")


def test_orders_are_permutations_and_the_first_is_the_files() -> None:
    stream = stream_of_records(records(tasks=6), shots=5, queries=5)
    orders = [stream.order(number) for number in range(4)]
    assert orders[0] == [f"task {t}" for t in range(6)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert stream.order(2) == orders[2]


def test_small_labels_and_unknown_tasks_are_told() -> None:
    few = [*records(), Record(Example("one", label="rare"), "task 0")]
    stream = stream_of_records(few, shots=5, queries=5)
    assert "rare" not in stream.task("task 0", 0).labels
    assert stream.notes == ("left out 1 of 7 labels: too few examples, or alone in their task",)
    with pytest.raises(DataError, match="has no task 'x'"):
        stream_of_records(few, shots=5, queries=5, names=["x"])
    with pytest.raises(DataError, match="gives 1 tasks"):
        stream_of_records(records(tasks=1), shots=5, queries=5)


def test_chunks_cut_each_group_by_itself() -> None:
    stream = stream_of_records(records(tasks=2, labels=5), shots=5, queries=5, labels_per_task=2)
    assert {name: len(labels) for name, labels in stream.groups.items()} == {
        f"task {t} {i}": 2 for t in range(2) for i in range(2)
    }, "a fifth label would be alone"
    for name, labels in stream.groups.items():
        assert {label[:7] for label in labels} == {f"label {name[5]}"}
    alone = [Record(record.example, None) for record in records(tasks=2)]
    assert sorted(stream_of_records(alone, shots=5, queries=5, labels_per_task=2).groups) == [
        "chunk 0",
        "chunk 1",
    ]


def texts(groups: int = 2, count: int = 20) -> list[Record]:
    return [Record(Example("", target=f"text {g} {i}"), f"year {g}") for g in range(groups) for i in range(count)]


def test_texts_without_labels_are_tasks_in_their_order() -> None:
    stream = stream_of_records(texts(), shots=5, queries=4, texts=True)
    assert stream.order(0) == ["year 0", "year 1"] and not stream.labelled and small().labelled
    task = stream.task("year 1", 0)
    assert task.labels == () and (len(task.train), len(task.test)) == (5, 4)
    assert all((e.target or "").startswith("text 1 ") for e in (*task.train, *task.test))
    with pytest.raises(DataError, match="needs labelled examples"):
        stream_of_records(texts(), shots=5, queries=4)


def test_texts_are_cut_as_they_stand_and_a_group_names_all_its_parts() -> None:
    stream = stream_of_records(texts(), shots=3, queries=2, texts=True, labels_per_task=8, names=["year 1"])
    assert list(stream.groups) == ["year 1 0", "year 1 1"], "four texts are left over"
    assert stream.notes == ("left out 1 of 3 tasks: too few texts",)
    held = {e.target for e in stream.groups["year 1 1"][""]}
    assert held == {f"text 1 {i}" for i in range(8, 16)}


def test_missing_labels_are_left_out_and_said() -> None:
    stream = stream_of_records([*records(), Record(Example("one", label="-"), "task 0")], shots=5, queries=5)
    assert "-" not in stream.groups["task 0"]
    assert stream.notes == ("left out 1 examples whose label is missing ('-')",)


def test_the_streams_of_the_issue(shared: Path) -> None:
    data = shared / "data"
    clinc = read_examples(data / "classification/clinc150/train.jsonl.gz", group="domain", label="label")
    stream = stream_of_records(clinc, shots=5, queries=5)
    assert len(stream.groups) == 10 and "oos" not in stream.groups
    assert {len(labels) for labels in stream.groups.values()} == {15}
    banking = read_examples(data / "classification/banking77/train.jsonl.gz", label="label")
    chunks = stream_of_records(banking, shots=5, queries=5, labels_per_task=11)
    assert [len(labels) for labels in chunks.groups.values()] == [11] * 7
    assert len({label for labels in chunks.groups.values() for label in labels}) == 77
    texts = read_examples(data / "continual/olora_14tasks/train.jsonl.gz", group="domain", label="label")
    order = ["agnews", "amazon", "yelp", "dbpedia"]
    four = stream_of_records(texts, shots=5, queries=5, names=order)
    assert four.order(0) == order
    assert [len(labels) for labels in four.groups.values()] == [4, 5, 5, 14]
    assert len(stream_of_records(texts, shots=5, queries=5).groups) == 14
    missing = stream_of_records(
        read_examples(data / "continual/olora_14tasks/test.jsonl.gz", group="domain"), shots=5, queries=5
    )
    assert "left out 131 examples whose label is missing ('-')" in missing.notes
    spoken = read_examples(data / "users/us_presidents/test.jsonl.gz", group="context")
    years = [f"{year} state_union" for year in range(1953, 1961)]
    assert list(stream_of_records(spoken, shots=5, queries=5, names=years, texts=True).groups) == years
    played = read_examples(data / "users/shakespeare_characters/test.jsonl.gz")
    acts = stream_of_records(played, shots=5, queries=5, names=["Hamlet: Hamlet"], texts=True, labels_per_task=72)
    assert list(acts.groups) == [f"Hamlet: Hamlet {i}" for i in range(5)]
