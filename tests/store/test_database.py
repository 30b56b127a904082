"""The file of the store: its size and time, what is erased, and files that are refused."""

import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from toys.versions import LAYOUT, made

from mlx_melpa.errors import StoreError
from mlx_melpa.store import Store, UserState


def test_a_version_costs_its_numbers_and_at_most_512_bytes(store: Store) -> None:
    """Measured: 365 bytes over the fp16 numbers of this row of 400; 0.5% more for a row of 141k numbers."""
    versions, metrics = 400, {"steps": 5, "loss_before": 2.3125, "loss_after": 1.125, "seconds": 1.5}
    store.put("first", made(1.0))
    store.close()
    before = store.path.stat().st_size
    with Store(store.path.parent) as again:
        for i in range(versions):
            again.put(f"user{i % 40}", made(float(i), examples=10, metrics=metrics))
    per_version = (store.path.stat().st_size - before) / versions
    assert 2 * LAYOUT.size < per_version <= 2 * LAYOUT.size + 512
    assert not store.path.with_name("store.sqlite3-wal").exists()


def test_remove_leaves_no_byte_of_the_user(store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = {name: rng.normal(size=(1, LAYOUT.size)).astype(np.float16) for name in ("Zoë-marker", "other-marker")}
    for _ in range(30):
        for name, row in rows.items():
            store.put(name, made(state=UserState(row), labels=(f"{name}-label",), base_name=f"{name}-base"))

    def holds(part: bytes) -> bool:
        return any(part in file.read_bytes() for file in tmp_path.iterdir())

    parts = ["Zoë-marker".encode(), "Zoë-marker-label".encode(), b"-marker-base", rows["Zoë-marker"].tobytes()[100:132]]
    assert all(holds(part) for part in parts)
    store.remove("Zoë-marker")
    assert not any(
        holds(part) for part in [b"Zo\xc3\xab", *(rows["Zoë-marker"].tobytes()[i : i + 16] for i in range(0, 784, 16))]
    )
    assert holds(b"other-marker") and holds(rows["other-marker"].tobytes()[100:132])
    assert store.latest("Zoë-marker") is None and len(store.history("other-marker")) == 30


def test_remove_says_when_another_reader_keeps_old_pages(store: Store) -> None:
    store.put("me", made(1.0))
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM users").fetchone()
    store._db.all("PRAGMA busy_timeout = 50")
    with pytest.raises(StoreError, match="another process reads"):
        store.remove("me")
    reader.close()
    assert store.users() == []


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite3"
    file.write_text("something else, long enough to be a header of some sort" * 4)
    with pytest.raises(StoreError, match="is not a store of melpa; set MELPA_HOME"):
        Store(tmp_path)
    assert file.read_text().startswith("something else")
    file.unlink()
    with sqlite3.connect(file) as foreign:
        foreign.execute("CREATE TABLE notes (text)")
    foreign.close()
    with pytest.raises(StoreError, match="is not a store of melpa"):
        Store(tmp_path)
    with pytest.raises(StoreError, match="set MELPA_HOME to a writable folder"):
        Store(file / "below")


def test_a_newer_format_and_a_damaged_version_are_named(store: Store, tmp_path: Path) -> None:
    store.put("me", made(1.0))
    store._db.all("UPDATE versions SET state = x'0011'")
    with pytest.raises(StoreError, match="version 1 of user 'me' is damaged; run: melpa users rollback"):
        store.latest("me")
    store._db.all("PRAGMA user_version = 3")
    with pytest.raises(StoreError, match="has format 3, this melpa reads up to 2; update mlx-melpa"):
        Store(tmp_path)


def test_home_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "deep" / "home"))
    with Store() as store:
        assert (
            store.path == tmp_path / "deep" / "home" / "store.sqlite3" and store.path.parent.stat().st_mode & 0o77 == 0
        )


def test_a_thousand_users_are_quick(store: Store) -> None:
    start = time.process_time()  # of this process alone, whatever else the machine does
    for i in range(1000):
        store.put(f"user{i}", made(float(i)))
    wrote = time.process_time() - start
    for i in range(1000):
        latest = store.latest(f"user{i}")
        assert latest is not None and latest.state.rows[0, 0] == i
    assert len(store.users()) == 1000
    assert wrote < 10 and time.process_time() - start - wrote < 3  # 0.9 s and 0.1 s where measured
