"""The store's SQLite file: creation, errors with a remedy, transactions, and deletion without a trace."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import StoreError

MARK = 0x6D6C7061  # "mlpa" in the file's header: another program's database is never touched
SCHEMA = 2
WAIT = 30.0
KEPT = """
CREATE TABLE IF NOT EXISTS reservoirs (user INTEGER PRIMARY KEY, size INTEGER NOT NULL, seen INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS kept (user INTEGER NOT NULL, slot INTEGER NOT NULL, example TEXT NOT NULL,
    PRIMARY KEY (user, slot));
"""
# The last page of a version is half empty on average, and a version may be a few kB: hence small pages.
TABLES = f"""
PRAGMA page_size = 1024;
PRAGMA journal_mode = WAL;
PRAGMA application_id = {MARK};
PRAGMA user_version = {SCHEMA};
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, active INTEGER);
CREATE TABLE identities (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, run TEXT, base_family TEXT NOT NULL,
    base_name TEXT NOT NULL, base_weights TEXT NOT NULL, layout TEXT NOT NULL);
CREATE TABLE versions (user INTEGER NOT NULL, number INTEGER NOT NULL, parent INTEGER, source INTEGER,
    made REAL NOT NULL, kind TEXT NOT NULL, examples INTEGER NOT NULL, identity INTEGER NOT NULL,
    nbytes INTEGER NOT NULL, about TEXT NOT NULL, state BLOB, PRIMARY KEY (user, number));
CREATE TABLE runs (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    path TEXT NOT NULL UNIQUE, base_family TEXT NOT NULL, made REAL NOT NULL);
{KEPT}"""
REMEDIES = {
    "SQLITE_BUSY": "is in use by another process; try again when that has ended",
    "SQLITE_READONLY": "can't be written; make its folder writable, or set MELPA_HOME to one that is",
    "SQLITE_CANTOPEN": "can't be opened; make its folder writable, or set MELPA_HOME to one that is",
    "SQLITE_FULL": "has no room left on its disk; free some, or run: melpa users prune",
    "SQLITE_NOTADB": "is not a store of melpa; set MELPA_HOME to another folder",
    "SQLITE_CORRUPT": "is damaged; bring back a copy of it, or move it away to begin anew",
}


class Database:
    """The file store.sqlite3 in `folder`, created if it is missing; every failure is a StoreError."""

    def __init__(self, folder: Path):
        self.path = folder / "store.sqlite3"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.path.exists():
                self._create()
        except OSError as error:
            raise StoreError(f"no store in {folder}: {error.strerror}; set MELPA_HOME to a writable folder") from None
        with self._in_words():
            self._link = _connect(self.path)
            mark, schema = (self.one(f"PRAGMA {name}")[0] for name in ("application_id", "user_version"))
        if mark != MARK:
            raise StoreError(f"{self.path} {REMEDIES['SQLITE_NOTADB']}")
        if schema > SCHEMA:
            raise StoreError(f"{self.path} has format {schema}, this melpa reads up to {SCHEMA}; update mlx-melpa")
        if schema < SCHEMA:
            self._bring_up_to_date()

    def close(self) -> None:
        """Closes the file; the last process to close it merges the log into it."""
        self._link.close()

    def all(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of one statement."""
        with self._in_words():
            return self._link.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> Any:
        """The first row of one statement, None without rows."""
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    def insert(self, table: str, row: dict[str, object]) -> int:
        """Adds one row and returns its id."""
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        with self._in_words():
            return (
                self._link.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values())).lastrowid
                or 0
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the write lock; the whole block is committed, or nothing of it."""
        self.all("BEGIN IMMEDIATE")
        try:
            yield
            self.all("COMMIT")
        finally:
            if self._link.in_transaction:
                self._link.rollback()

    def scrub(self) -> None:
        """Rebuilds the file without deleted rows, and empties the log."""
        self.all("VACUUM")
        if self.one("PRAGMA wal_checkpoint(TRUNCATE)")[0]:
            raise StoreError(
                f"deleted, but another process reads {self.path}: old pages go from the log when that process ends"
            )

    def _create(self) -> None:
        # Under a name of its own and then linked: two processes that begin at once never see half a store.
        draft = self.path.with_suffix(f".{os.getpid()}.new")
        with self._in_words():
            link = _connect(draft)
            link.executescript(TABLES)
            link.close()
        with suppress(FileExistsError):
            os.link(draft, self.path)
        draft.unlink()

    def _bring_up_to_date(self) -> None:
        """Adds the tables that format 1 did not have."""
        with self.writing():
            for statement in KEPT.split(";")[:-1]:
                self.all(statement)
            self.all(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
            raise StoreError(f"{self.path} {REMEDIES.get(code, f'failed: {error}; run: melpa doctor')}") from None


def _connect(path: Path) -> sqlite3.Connection:
    link = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    link.row_factory = sqlite3.Row
    link.execute("PRAGMA secure_delete = ON")
    return link
