"""The store of users' adapters: one database row per version."""

import hashlib
import json
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from safetensors import SafetensorError

from ..core.layout import Layout
from ..core.types import Json
from ..errors import StoreError
from . import details, reservoir
from .database import Database
from .reservoir import Reservoir
from .version import NO_STATE, RunRecord, Summary, Version, check_id, pack, unpack

SELECT = """
SELECT u.name AS user, v.number, v.parent, v.source, v.made, v.kind, v.examples, v.nbytes, v.about,
    v.number IS u.active AS active, i.run, i.base_family, i.base_name, i.base_weights, i.layout{state}
FROM versions v JOIN users u ON u.id = v.user JOIN identities i ON i.id = v.identity
LEFT JOIN versions s ON s.user = v.user AND s.number = v.source WHERE u.name = ? {where} ORDER BY v.number
"""
STATE = ", coalesce(v.state, s.state) AS state"
SUMMARY = """
SELECT u.name AS user, u.created, max(v.made) AS updated, count(v.number) AS versions, u.active,
    (SELECT count(*) FROM kept k WHERE k.user = u.id) AS kept, coalesce(sum(length(v.state)), 0)
    + (SELECT coalesce(sum(length(CAST(k.example AS BLOB))), 0) FROM kept k WHERE k.user = u.id) AS nbytes,
    i.base_name, i.run
FROM users u LEFT JOIN versions v ON v.user = u.id LEFT JOIN versions a ON a.user = u.id AND a.number = u.active
LEFT JOIN identities i ON i.id = a.identity GROUP BY u.id ORDER BY u.name
"""
_layout = lru_cache(Layout.from_json)


class Store:
    """Users' adapters in `folder`; default $MELPA_HOME, else ~/.melpa.

    Methods raise StoreError with a remedy. Use one object per thread; any number of processes may share the folder.
    """

    def __init__(self, folder: Path | None = None):
        self._db = Database(folder or Path(os.environ.get("MELPA_HOME") or "~/.melpa").expanduser())
        self.path = self._db.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the store's file."""
        self._db.close()

    def put(
        self,
        user: str,
        version: Version,
        *,
        parent: int | Literal["active"] | None = "active",
        activate: bool = True,
        half: bool = True,
        keep: Reservoir | None = None,
    ) -> int:
        """Appends a version, whole or not at all, and returns its number.

        `parent` is the version it was adapted from. Without `activate` the active version stays. `half` stores the row
        as fp16. The examples of `keep` are offered to the user's reservoir, which gets its size.
        """
        name, blob = check_id(user), pack(version.state, half)
        row: dict[str, object] = {
            "kind": version.kind,
            "examples": version.examples,
            "nbytes": len(blob),
            "about": details.write(version),
            "state": blob,
        }
        with self._db.writing():
            self._db.all("INSERT OR IGNORE INTO users (name, created) VALUES (?, ?)", name, time.time())
            owner, active = self._db.one("SELECT id, active FROM users WHERE name = ?", name)
            row |= {"parent": active if parent == "active" else parent, "identity": self._identity(version)}
            if keep is not None:
                reservoir.offer(self._db, owner, keep)
            return self._append(owner, row, activate)

    def latest(self, user: str) -> Version | None:
        """The user's active version, None without one."""
        found = self._versions(user, "AND v.number = u.active", state=True)
        return found[0] if found else None

    def description(self, user: str) -> str:
        """The user's latest description, also of a rejected version; "" without one."""
        return next((version.description for version in reversed(self._versions(user)) if version.description), "")

    def get(self, user: str, number: int) -> Version:
        """One version with its state."""
        found = self._versions(user, "AND v.number = ?", number, state=True)
        if not found:
            there = ", ".join(str(v.number) for v in self.history(user))
            raise StoreError(f"user '{user}' has no version {number}; there are: {there}")
        return found[0]

    def history(self, user: str) -> list[Version]:
        """All versions, oldest first, each with an empty state."""
        self._owner(user)
        return self._versions(user)

    def users(self) -> list[Summary]:
        """One summary per user, by name."""
        return [Summary(**row) for row in self._db.all(SUMMARY)]

    def with_job(self, job: str) -> set[str]:
        """The users who have a version that this job made."""
        found = self._db.all(
            "SELECT DISTINCT u.name FROM versions v JOIN users u ON u.id = v.user "
            "WHERE coalesce(json_extract(v.about, '$.job'), json_extract(v.about, '$.metrics.order')) = ?",
            job,
        )
        return {row["name"] for row in found}

    def stored_examples(self, user: str) -> Reservoir:
        """The user's own stored examples; none for an unknown user."""
        found = self._db.one("SELECT id FROM users WHERE name = ?", check_id(user))
        return reservoir.read(self._db, found["id"]) if found else Reservoir()

    def forget_examples(self, user: str) -> int:
        """Deletes a user's stored examples and every byte of them from the files; returns their number."""
        with self._db.writing():
            owner = self._owner(user)
            count = len(reservoir.read(self._db, owner).examples)
            reservoir.forget(self._db, owner)
        self._db.scrub()
        return count

    def rollback(self, user: str, number: int) -> int:
        """Makes an earlier version active by appending one that points to it; returns the new number."""
        with self._db.writing():
            owner = self._owner(self.get(user, number).user)
            row = self._db.one(
                "SELECT coalesce(source, number) AS source, examples, identity, nbytes, about FROM versions "
                "WHERE user = ? AND number = ?",
                *(owner, number),
            )
            return self._append(owner, {**row, "kind": "rollback", "parent": number}, activate=True)

    def prune(self, user: str, keep: int = 1) -> list[int]:
        """Deletes all but the newest `keep` versions, the active one and their sources; returns the deleted numbers."""
        if keep < 1:
            raise StoreError(f"can't keep {keep} versions; keep 1 or more, or run: melpa users remove")
        with self._db.writing():
            owner = self._owner(user)
            versions = self._versions(user)
            kept = [v for v in versions if v.active or v in versions[-keep:]]
            stay = {v.number for v in kept} | {v.source for v in kept}
            gone = [v.number for v in versions if v.number not in stay]
            for number in gone:
                self._db.all("DELETE FROM versions WHERE user = ? AND number = ?", owner, number)
            self._forget_identities()
        self._db.scrub()
        return gone

    def remove(self, user: str) -> None:
        """Deletes a user and every byte of them from the files."""
        with self._db.writing():
            owner = self._owner(user)
            self._db.all("DELETE FROM versions WHERE user = ?", owner)
            reservoir.forget(self._db, owner)
            self._db.all("DELETE FROM users WHERE id = ?", owner)
            self._forget_identities()
        self._db.scrub()

    def add_run(self, name: str, path: Path, fingerprint: str, base_family: str) -> None:
        """Records where a run lies, so that `melpa adapt` finds it; one folder is one run."""
        run = {"name": name, "path": str(path.resolve()), "fingerprint": fingerprint, "base_family": base_family}
        with self._db.writing():
            self._db.all("DELETE FROM runs WHERE path = ? OR fingerprint = ?", run["path"], fingerprint)
            self._db.insert("runs", run | {"made": time.time()})

    def runs(self, base_family: str | None = None) -> list[RunRecord]:
        """The known runs, newest first; only those for one base family when it is given."""
        rows = self._db.all("SELECT name, path, fingerprint, base_family, made FROM runs ORDER BY id DESC")
        runs = [RunRecord(**{**row, "path": Path(row["path"])}) for row in rows]
        return [run for run in runs if base_family in (None, run.base_family)]

    def run(self, wanted: str) -> RunRecord:
        """The run with this fingerprint, or the newest with this name."""
        runs = self.runs()
        for run in runs:
            if wanted in (run.fingerprint, run.name):
                return run
        there = ", ".join(sorted({run.name for run in runs})) or "none"
        raise StoreError(f"no run '{wanted}', there are: {there}; run: melpa meta-train RECIPE")

    def _owner(self, user: str) -> int:
        name = check_id(user)
        found = self._db.one("SELECT id FROM users WHERE name = ?", name)
        if not found:
            raise StoreError(f"no adapter for user '{name}'; run: melpa adapt --user {shlex.quote(name)} DATA")
        return found["id"]

    def _identity(self, version: Version) -> int:
        identity = {
            "run": version.run,
            "base_family": version.base_family,
            "base_name": version.base_name,
            "base_weights": version.base_weights,
            "layout": version.layout.to_json(),
        }
        digest = hashlib.sha256(json.dumps(identity).encode()).digest()
        found = self._db.one("SELECT id FROM identities WHERE digest = ?", digest)
        return found["id"] if found else self._db.insert("identities", {"digest": digest, **identity})

    def _forget_identities(self) -> None:
        self._db.all("DELETE FROM identities WHERE id NOT IN (SELECT identity FROM versions)")

    def _append(self, owner: int, row: Mapping[str, object], activate: bool) -> int:
        number = self._db.one("SELECT coalesce(max(number), 0) + 1 FROM versions WHERE user = ?", owner)[0]
        self._db.insert("versions", {"user": owner, "number": number, "made": time.time(), **row})
        if activate:
            self._db.all("UPDATE users SET active = ? WHERE id = ?", number, owner)
        return number

    def _versions(self, user: str, where: str = "", *values: int, state: bool = False) -> list[Version]:
        sql = SELECT.format(where=where, state=STATE if state else "")
        return [_version(dict(row)) for row in self._db.all(sql, check_id(user), *values)]


def _version(row: Json) -> Version:
    blob, stored = row.pop("state", None), _layout(row.pop("layout"))
    try:
        state = NO_STATE if blob is None else unpack(blob)
    except SafetensorError:
        where = f"version {row['number']} of user '{row['user']}'"
        raise StoreError(f"{where} is damaged; run: melpa users rollback, to an earlier one") from None
    if state.rows.size == stored.size > stored.personal.size:  # an import of version 0.1, which kept the shared numbers
        rows, shared = stored.divide(state.rows)
        state = replace(state, rows=rows, shared=shared)
    fields = details.read(row.pop("about"))
    return Version(state=state, layout=stored.personal, **{**row, "active": bool(row["active"])}, **fields)
