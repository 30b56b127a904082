"""Stored examples: replay and held-out halves, hashes, and days that cost the same."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.notes import LABELS, LINES, NOTES, saved

from mlx_melpa.core.types import Example
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.history import LearnedExamples, split_replay
from mlx_melpa.store import Reservoir, Store
from mlx_melpa.store.run import Run


def test_kept_examples_of_a_version_that_was_taken_back_are_not_replayed(sorting: Run) -> None:
    first = replace(adapt_user(sorting, NOTES, steps=0).version, user="me", number=1)
    gone = [Example(f"sweep the floor {i}", label="home") for i in range(20)]
    found = adapt_user(sorting, [Example("sign it", label="work")], previous=first, steps=0, stored=gone)
    assert (len(found.data.replayed), len(found.data.held_out)) == (0, 0)
    np.testing.assert_array_equal(found.version.state.counts, [5, 6])


def test_kept_examples_are_halved_for_good_and_those_given_again_are_left_out() -> None:
    kept = [Example(f"note {i}", label=LABELS[i % 2]) for i in range(200)]
    odd, even = split_replay(kept, [], LABELS)
    assert 70 < len(odd) < 130 and {*odd, *even} == {*kept} and len(odd) + len(even) == 200
    assert split_replay(kept[::-1], [], LABELS) == (odd[::-1], even[::-1])
    assert split_replay(kept, kept[:10], LABELS) == tuple(
        [e for e in half if e not in kept[:10]] for half in (odd, even)
    )
    assert split_replay(kept, [], ("home",)) == tuple([e for e in half if e.label == "home"] for half in (odd, even))
    assert split_replay(kept, [], ()) == ([], [])


def test_counts_stay_those_of_all_examples_when_some_are_replayed(sorting: Run) -> None:
    first = saved(adapt_user(sorting, NOTES, steps=1))
    more = [Example("sweep the floor", label="home"), Example("sign the offer", label="work")]
    found = adapt_user(sorting, more, previous=first, steps=1, stored=NOTES)
    assert (
        len(found.data.replayed) + len(found.data.held_out) == 10
        and len(found.data.replayed)
        and len(found.data.held_out)
    )
    np.testing.assert_array_equal(found.version.state.counts, [6, 6])
    assert found.data.new == tuple(more) and len(found.version.state.learned) == 12


def test_replay_keeps_earlier_examples_from_getting_worse(writing: Run) -> None:
    first = saved(adapt_user(writing, LINES, steps=10))
    other = [Example("", target=f"{n * 137 % 1000} {n * 59 % 100} + = {n * 91 % 1000}") for n in range(7)]
    odd, even = split_replay(LINES, [], ())
    alone, both = (adapt_user(writing, other, previous=first, steps=20, stored=k) for k in (even, [*odd, *even]))
    assert (
        alone.after.earlier is not None and both.after.earlier is not None and len(both.data.replayed) == len(odd) > 0
    )
    assert (
        len(alone.data.held_out) == len(both.data.held_out)
        and both.after.earlier.loss < alone.after.earlier.loss - 0.05
    )


def test_a_person_who_begins_anew_learns_the_kept_examples_too(sorting: Run) -> None:
    found = adapt_user(sorting, NOTES[:6], steps=1, stored=[*NOTES[4:], *LINES[:1]])
    assert found.version.examples == 10 and found.after.earlier is None
    assert "6 stored examples are added to the new ones: this version starts again" in found.notes


def test_hashes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx_melpa.personal.history as module

    monkeypatch.setattr(module, "MAX_HASHES", 12)
    first = LearnedExamples.of(None).add(NOTES)
    both = first.add(LINES[:4])
    assert (
        len(both.hashes) == 12 and both.hashes[-4:].tolist() == LearnedExamples.of(None).add(LINES[:4]).hashes.tolist()
    )
    assert both.contains([*NOTES, *LINES]) == [*NOTES[2:], *LINES[:4]]


def test_thirty_days_take_the_same_time_and_bytes_each(sorting: Run, tmp_path: Path) -> None:
    seconds, sizes = [], []
    with Store(tmp_path) as store:
        for day in range(30):
            today = [Example(f"{label} thing {day}", label=label) for label in LABELS]
            began = time.process_time()
            previous = store.latest("me")
            outcome = adapt_user(
                sorting,
                today,
                previous=previous,
                steps=1,
                stored=store.stored_examples("me").examples,
                max_forgetting=10.0,
            )
            number = store.put("me", outcome.version, activate=outcome.accepted, keep=Reservoir(8, outcome.data.new))
            seconds.append(time.process_time() - began)
            sizes.append(store.get("me", number).nbytes - 8 * len(outcome.version.state.learned))
        assert len(store.stored_examples("me").examples) == 8 and store.stored_examples("me").seen == 60
        assert store.latest("me").state.counts.tolist() == [30, 30]  # type: ignore[union-attr]
    assert max(sizes[2:]) - min(sizes[2:]) <= 8  # safetensors pads its header to 8 bytes
    assert min(seconds[-10:]) < 1.5 * min(seconds[5:15])
