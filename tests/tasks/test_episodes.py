"""Episodes hold what their settings say, and what is too small is left out and counted."""

import numpy as np
import pytest

from mlx_melpa.core.types import Example
from mlx_melpa.errors import DataError
from mlx_melpa.tasks.episodes import EpisodeSettings, LabelledTasks, UserTasks


def some(label: str, count: int) -> list[Example]:
    return [Example(f"{label}{i}", label=label) for i in range(count)]


def test_a_labelled_episode_has_ways_shots_and_queries_without_overlap() -> None:
    tasks = LabelledTasks({"g": {k: some(k, 9) for k in "abcdef"}}, EpisodeSettings(ways=4, shots=2, queries=3))
    seen_orders = set()
    for seed in range(20):
        episode = tasks.episode(np.random.default_rng(seed))
        assert len(set(episode.labels)) == 4 and episode.name == "g"
        for part, each in ((episode.support, 2), (episode.query, 3)):
            assert sorted(e.label for e in part) == sorted(list(episode.labels) * each)
        texts = [e.text for e in episode.support + episode.query]
        assert len(set(texts)) == 20
        seen_orders.add(episode.labels)
    assert len(seen_orders) > 15
    assert tasks.episode(np.random.default_rng(7)) == tasks.episode(np.random.default_rng(7))


def test_all_labels_are_drawn_in_each_place() -> None:
    tasks = LabelledTasks({"g": {k: some(k, 3) for k in "abc"}}, EpisodeSettings(ways=None, shots=1, queries=None))
    episodes = [tasks.episode(np.random.default_rng(seed)) for seed in range(300)]
    firsts = [episode.labels[0] for episode in episodes]
    assert all(70 < firsts.count(label) < 130 for label in "abc")
    assert all(len(e.support) == 3 and len(e.query) == 6 for e in episodes)


def test_ragged_labels_give_what_they_have() -> None:
    tasks = LabelledTasks({"g": {"a": some("a", 3), "b": some("b", 9)}}, EpisodeSettings(ways=5, shots=2, queries=4))
    episode = tasks.episode(np.random.default_rng(0))
    assert sorted(e.label for e in episode.query) == ["a", "b", "b", "b", "b"]


def test_small_labels_and_groups_are_left_out_and_counted() -> None:
    groups = {
        "good": {"a": some("a", 3), "b": some("b", 3), "c": some("c", 2)},
        "lone": {"d": some("d", 9)},
        "thin": {"e": some("e", 3), "f": some("f", 1)},
    }
    tasks = LabelledTasks(groups, EpisodeSettings(ways=2, shots=2, queries=1))
    assert tasks.names == ("good",) and tasks.size == 1
    assert tasks.left_out == (
        "left out 2 of 6 labels with fewer than 3 examples (shots + 1): 'good/c', 'thin/f'",
        "left out 2 of 3 groups with fewer than 2 labels left: 'lone', 'thin'",
    )
    with pytest.raises(DataError, match=r"no task has 2 labels with 6 examples each .ways 5, shots 5.: there are 3"):
        LabelledTasks({"good": groups["good"]}, EpisodeSettings(ways=5, shots=5, queries=5))


def test_a_persons_episode_cuts_their_lines_in_two() -> None:
    users = {"me": [Example("", target=str(i)) for i in range(8)], "few": [Example("", target="x")] * 3}
    tasks = UserTasks(users, EpisodeSettings(shots=3, queries=None))
    assert tasks.left_out == ("left out 1 of 2 users with fewer than 4 examples (shots + 1): 'few'",)
    episode = tasks.episode(np.random.default_rng(0))
    assert (episode.name, len(episode.support), episode.labels) == ("me", 3, ())
    assert sorted(str(e.target) for e in episode.support + episode.query) == [str(i) for i in range(8)]
    assert len(UserTasks(users, EpisodeSettings(shots=3, queries=2)).episode(np.random.default_rng(0)).query) == 2
    with pytest.raises(DataError, match=r"no user has 10 examples .shots 9 .* the largest with 8; lower shots"):
        UserTasks(users, EpisodeSettings(shots=9, queries=None))
