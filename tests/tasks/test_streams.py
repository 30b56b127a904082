"""Streams hold different tasks in random order, drawn from one generator; too few tasks are refused."""

import numpy as np
import pytest

from mlx_melpa.core.types import Example, Splits
from mlx_melpa.errors import DataError
from mlx_melpa.samplers.uniform import uniform
from mlx_melpa.tasks.episodes import EpisodeSettings, LabelledTasks, UserTasks
from mlx_melpa.tasks.sinusoid import sinusoid
from mlx_melpa.tasks.streams import Streams, streams


def some(label: str, count: int = 6) -> list[Example]:
    return [Example(f"{label}{i}", label=label) for i in range(count)]


TWO = EpisodeSettings(ways=2, shots=2, queries=2)
GROUPS = LabelledTasks(
    {g: {g + k: some(g + k) for k in "xyz"} for g in "abcde"}, EpisodeSettings(ways=2, shots=2, queries=2)
)
ALONE = LabelledTasks({"": {k: some(k) for k in "abcdefgh"}}, TWO)


def test_a_stream_holds_different_groups_in_any_order() -> None:
    source, firsts = Streams(GROUPS, 3, "training"), set()
    for seed in range(40):
        stream = source.episode(np.random.default_rng(seed))
        names = [episode.name for episode in stream]
        assert len(names) == len(set(names)) == 3
        assert all({label[0] for label in e.labels} == {e.name} and len(e.labels) == 2 for e in stream)
        assert all((len(e.support), len(e.query)) == (4, 4) for e in stream)
        firsts.add(names[0])
    assert firsts == set("abcde")


def test_where_labels_are_the_keys_no_label_comes_twice() -> None:
    for seed in range(40):
        stream = Streams(ALONE, 4, "training").episode(np.random.default_rng(seed))
        assert sorted(label for episode in stream for label in episode.labels) == list("abcdefgh")
    whole = LabelledTasks(ALONE.groups, EpisodeSettings(ways=None, shots=2, queries=2))
    assert [len(e.labels) for e in Streams(whole, 3, "training").episode(np.random.default_rng(0))] == [2, 2, 2]


def test_people_come_once_and_simulated_tasks_afresh() -> None:
    lines = {u: [Example("", target=f"{u}{i}") for i in range(5)] for u in "abc"}
    people = UserTasks(lines, EpisodeSettings(shots=2, queries=1))
    assert {e.name for e in Streams(people, 3, "training").episode(np.random.default_rng(0))} == set("abc")
    curves = Streams(sinusoid().train, 3, "training").episode(np.random.default_rng(0))
    assert len({float(curve.y_support[0, 0]) for curve in curves}) == 3


def test_a_draw_depends_on_seed_iteration_and_place_alone() -> None:
    source = Streams(GROUPS, 3, "training")
    many, few = (uniform().next(source, 5, 7, count) for count in (4, 2))
    assert many[:2] == few
    assert many[0] != many[1] and many != uniform().next(source, 5, 8, 4)


def test_too_few_tasks_are_refused_with_what_to_do() -> None:
    splits = Splits(GROUPS, GROUPS.only(["a", "b"]), GROUPS)
    assert streams(splits, 1) is splits
    with pytest.raises(DataError, match=r"a stream of 3 tasks takes 3 groups, and validation has 2; lower train\.str"):
        streams(splits, 3)
    with pytest.raises(DataError, match=r"a stream of 5 tasks takes 10 labels, and training has 8; .* hold out fewer"):
        streams(Splits(ALONE, ALONE, ALONE), 5)
    assert streams(splits, 2).test is GROUPS, "the test is of single tasks"
