"""The way to a user's run, with and without one, and a generator that leaves the base clean."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toys.notes import LINES, NOTES, saved

from mlx_melpa.errors import ModelError, StoreError
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.generation import Generator
from mlx_melpa.personal.resolve import BaseChoice, load_user, resolve_adaptation
from mlx_melpa.store import Store
from mlx_melpa.store.run import Run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_without_a_run_the_two_ways_to_one_are_named(store: Store, shared: Path) -> None:
    base = str(shared / "models/stories260k")
    with pytest.raises(
        StoreError, match=r"takes labelled examples; make one with: melpa prepare .*stories260k, or start"
    ):
        resolve_adaptation(store, "me", NOTES, choice=BaseChoice(base))
    with pytest.raises(
        StoreError, match="no run takes text without labels; make one with: melpa prepare pocket --tasks"
    ):
        resolve_adaptation(store, "me", LINES)


def test_a_random_start_opens_again_and_goes_on(store: Store, sorting: Run, shared: Path) -> None:
    store.put("me", adapt_user(sorting, NOTES, steps=1).version)
    run, version = load_user(store, "me")
    assert (run.fingerprint, version.run, version.origin.form) == ("", None, "labels")
    _, previous, notes = resolve_adaptation(store, "me", NOTES)
    assert previous is not None and previous.number == 1 and notes == ()
    other = str(shared / "models/tinystories-instruct-3m")
    with pytest.raises((ModelError, StoreError)) as refused:
        load_user(store, "me", BaseChoice(other))
    assert "stories260k" in str(refused.value) and "tinystories-instruct-3m" in str(refused.value)


def test_strength_zero_is_the_base_and_the_model_is_left_clean(writing: Run) -> None:
    writer = Generator(writing, saved(adapt_user(writing, LINES, steps=10)), max_tokens=12, temp=0)
    say: Callable[..., str] = lambda **how: "".join(writer.write([("user", "Once")], **how))  # noqa: E731
    base, adapted = say(adapted=False), say()
    writer.strength = 0.0
    assert base == say() == say(adapted=False) != adapted
