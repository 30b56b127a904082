"""A user's stored examples: uniform, the same in pieces, erased for good; stores of format 1 open."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.types import Example
from mlx_melpa.errors import StoreError
from mlx_melpa.store import Reservoir, Store, UserState, Version
from mlx_melpa.store.reservoir import place

LAYOUT = Layout([Segment("w", (40,))])
MADE = Version(UserState(np.zeros((1, 40), np.float32)), LAYOUT, "llama", "pocket", "w0")


def told(*numbers: int) -> list[Example]:
    return [Example(f"note {i}", label="ab"[i % 2]) for i in numbers]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        yield opened


def test_every_example_seen_is_as_likely_to_be_kept() -> None:
    size, total, draws = 4, 16, 3000
    counts = np.zeros(total)
    for seed in range(draws):
        slots: list[int] = []
        for i in range(total):
            slot = place(i, len(slots), size, seed)
            if slot is not None:
                slots[slot : slot + 1] = [i]
        assert len(slots) == size
        counts[slots] += 1
    share = size / total
    # Each count is binomial: five standard deviations.
    assert np.abs(counts - draws * share).max() < 5 * np.sqrt(draws * share * (1 - share))


def test_many_calls_keep_what_one_would_and_what_is_there_counts_once(store: Store) -> None:
    store.put("whole", MADE, keep=Reservoir(5, told(*range(30))))
    for i in range(0, 30, 3):
        store.put("pieces", MADE, keep=Reservoir(5, told(i, i + 1, i + 2)))
    assert store.stored_examples("whole") == store.stored_examples("pieces")
    assert (len(store.stored_examples("whole").examples), store.stored_examples("whole").seen) == (5, 30)
    before = store.stored_examples("whole")
    store.put("whole", MADE, keep=Reservoir(5, list(before.examples)))
    assert store.stored_examples("whole") == before
    assert store.stored_examples("nobody") == Reservoir()


def test_a_smaller_size_drops_some_and_a_larger_one_fills_up(store: Store) -> None:
    store.put("me", MADE, keep=Reservoir(6, told(*range(20))))
    before = store.stored_examples("me").examples
    store.put("me", MADE, keep=Reservoir(3, []))
    assert len(store.stored_examples("me").examples) == 3 and set(store.stored_examples("me").examples) < set(before)
    store.put("me", MADE, keep=Reservoir(5, told(100, 101)))
    assert store.stored_examples("me").examples[3:] == tuple(told(100, 101)) and store.stored_examples("me").size == 5


def test_all_forms_of_examples_come_back_without_their_place(store: Store) -> None:
    said = (("user", "hi — 山"), ("assistant", 'a "quote"'))
    forms = [Example("a", label="x", source="f:1"), Example("", target="line\n"), Example("", messages=said)]
    store.put("me", MADE, keep=Reservoir(3, forms))
    assert store.stored_examples("me").examples == (Example("a", label="x"), *forms[1:])


def test_kept_examples_count_as_bytes_and_a_version_alone_keeps_none(store: Store) -> None:
    store.put("me", MADE)
    (plain,) = store.users()
    store.put("me", MADE, keep=Reservoir(2, told(1, 2, 3)))
    (summary,) = store.users()
    written = len('{"text":"note 1","label":"b"}')
    assert (plain.kept, summary.kept) == (0, 2) and summary.nbytes == 2 * plain.nbytes + 2 * written


@pytest.mark.parametrize("erase", ["forget_examples", "remove"])
def test_forgetting_leaves_no_byte_of_the_examples(store: Store, tmp_path: Path, erase: str) -> None:
    def holds(part: str) -> bool:
        return any(part.encode() in file.read_bytes() for file in tmp_path.iterdir())

    for name in ("me", "you"):
        store.put(name, MADE, keep=Reservoir(50, [Example(f"{name}-secret-{i} " * 20) for i in range(40)]))
    assert holds("me-secret-7") and holds("you-secret-7")
    gone = store.forget_examples("me") if erase == "forget_examples" else store.remove("me")
    assert not holds("me-secret") and holds("you-secret-7")
    assert store.stored_examples("me") == Reservoir() and len(store.stored_examples("you").examples) == 40
    if erase == "forget_examples":
        assert gone == 40 and store.latest("me") is not None
    with pytest.raises(StoreError, match="no adapter for user 'nobody'"):
        getattr(store, erase)("nobody")


def test_a_store_of_format_1_opens_with_its_versions(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put("me", MADE)
    with sqlite3.connect(tmp_path / "store.sqlite3") as old:
        old.executescript("DROP TABLE kept; DROP TABLE reservoirs; PRAGMA user_version = 1;")
    old.close()
    for _ in range(2):
        with Store(tmp_path) as store:
            assert store.latest("me") is not None and store.stored_examples("me") == Reservoir()
            assert store._db.one("PRAGMA user_version")[0] == 2
            store.put("me", MADE, keep=Reservoir(2, told(1)))
            store.forget_examples("me")


def test_the_regularizer_s_state_is_rounded_as_the_row_is(store: Store) -> None:
    rng = np.random.default_rng(0)
    rows, root = (rng.normal(size=(1, 40)).astype(np.float32) for _ in range(2))
    wide = np.full((1, 2), 1e6, np.float32)
    store.put("me", Version(UserState(rows, regularizer={"root": root, "wide": wide}), LAYOUT, "f", "b", "w"))
    back = store.latest("me")
    assert back is not None and back.nbytes < 2 * 80 + 8 + 300
    np.testing.assert_array_equal(back.state.regularizer["root"], root.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(back.state.regularizer["wide"], [[1e6, 1e6]])
    with pytest.raises(StoreError, match="not finite"):
        store.put("me", Version(UserState(rows, regularizer={"root": np.array([np.inf])}), LAYOUT, "f", "b", "w"))
