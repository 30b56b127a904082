"""Simulated people are distinct, endless, repeatable, and new ones bring new topics."""

from collections import Counter

import numpy as np
import pytest

from mlx_melpa.data.simulated.frames import ATTRIBUTES, FRAMES
from mlx_melpa.data.simulated.people import Style, folders
from mlx_melpa.data.simulated.topics import TOPICS
from mlx_melpa.tasks.splits import task_hash
from mlx_melpa.tasks.synthetic import synthetic


def test_topics_are_many_and_their_sentences_whole() -> None:
    rng = np.random.default_rng(0)
    assert len(TOPICS) == len({t.name for t in TOPICS}) == 32
    assert set(FRAMES) == {mood for pair in ATTRIBUTES for mood in pair}
    for topic in TOPICS:
        assert len(topic.acts) + len(topic.says) >= 12
        texts = {topic.message(rng, frames) for frames in (None, *FRAMES) for _ in range(100)}
        assert len(texts) > 800 and not any("{" in text or "  " in text for text in texts)


def test_every_slot_and_form_can_be_filled() -> None:
    rng = np.random.default_rng(0)
    for topic in TOPICS:
        for pattern in (*topic.says, *(form for act in topic.acts for form in act)):
            assert "{" in pattern and "{" not in topic._fill(pattern, rng)


def test_parts_have_topics_of_their_own() -> None:
    splits = synthetic(seed=3)
    parts = [{t.name for t in tasks.topics} for tasks in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [18, 6, 8] and len(set().union(*parts)) == 32
    assert splits.training_hashes == {task_hash("topic", name) for name in parts[0] | parts[1]}
    assert {t.name for t in synthetic(seed=4).test.topics} != parts[2]
    assert splits.train.size is None


@pytest.mark.parametrize("ways", [2, 5, 12])
def test_a_person_files_messages_into_folders_of_their_own(ways: int) -> None:
    for tasks in (synthetic(ways=ways).train, synthetic(ways=ways).validation):
        for seed in range(10):
            episode = tasks.episode(np.random.default_rng(seed))
            assert episode == tasks.episode(np.random.default_rng(seed))
            assert len(set(episode.labels)) == ways
            for part in (episode.support, episode.query):
                assert Counter(e.label for e in part) == dict.fromkeys(episode.labels, 5)
            texts = [e.text.lower() for e in episode.support + episode.query]
            assert len(set(texts)) == 10 * ways


def test_a_description_says_what_goes_where_or_how_one_writes() -> None:
    tasks = synthetic(ways=3).train
    for seed in range(20):
        about = tasks.episode(np.random.default_rng(seed)).description.partition(" files ")[2]
        for said, (name, cells) in zip(
            about.split(", "), folders(tasks.topics, 3, np.random.default_rng(seed)).items(), strict=True
        ):
            topics, _, label = said.partition(" under ")
            assert label == f"'{name}'"
            wanted = [f"{topic.name} ({mood})" if mood else topic.name for topic, mood in cells]
            assert topics.split(" and ") == wanted
    style, person = Style.draw(np.random.default_rng(3)), synthetic(variant="style").train
    told = person.episode(np.random.default_rng(3)).description
    assert all(word in told for word in (style.greeting, style.favourite, style.sign_off, style.signer, style.casing))
    assert synthetic(variant="binary").train.episode(np.random.default_rng(0)).description == ""


def test_a_labelling_is_a_partition() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        filed = folders(TOPICS[:6], 5, rng)
        cells = [(topic.name, mood) for held in filed.values() for topic, mood in held]
        assert len(filed) == 5 and len(set(cells)) == len(cells) and all(filed.values())


def test_binary_tasks_vary_and_mislabel_only_the_support() -> None:
    tasks = synthetic(variant="binary", shots=10, queries=10, noise=0.5).train
    names, swapped = Counter(), 0
    for seed in range(100):
        episode = tasks.episode(np.random.default_rng(seed))
        assert len(episode.labels) == 2
        names[tuple(sorted(episode.labels))] += 1
        assert Counter(e.label for e in episode.query) == dict.fromkeys(episode.labels, 10)
        swapped += Counter(e.label for e in episode.support) != dict.fromkeys(episode.labels, 10)
    assert all(names[tuple(sorted(pair))] for pair in ATTRIBUTES) and len(names) > 30
    assert swapped > 50
    clean = synthetic(variant="binary", noise=0).train.episode(np.random.default_rng(0))
    assert Counter(e.label for e in clean.support) == dict.fromkeys(clean.labels, 5)


def test_mixed_draws_people_and_binary_tasks() -> None:
    tasks = synthetic(variant="mixed").train
    ways = Counter(len(tasks.episode(np.random.default_rng(seed)).labels) for seed in range(100))
    assert ways[2] + ways[5] == 100 and 30 < ways[2] < 70


def test_replies_carry_the_persons_style() -> None:
    tasks = synthetic(variant="style", shots=4, queries=3).test
    openings = set()
    for seed in range(20):
        style = Style.draw(np.random.default_rng(seed))
        episode = tasks.episode(np.random.default_rng(seed))
        assert (len(episode.support), len(episode.query), episode.labels) == (4, 3, ())
        for example in episode.support + episode.query:
            assert example.text and example.label is None
            reply = str(example.target).lower()
            assert reply.startswith(f"{style.greeting}, {style.favourite}, ".lower())
            assert reply.endswith(f"{style.sign_off}, {style.signer}".lower())
        openings.add((style.greeting, style.favourite))
    assert len(openings) > 15
