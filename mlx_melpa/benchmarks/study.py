"""The results of a benchmark: kept one by one, resumed, and refused where they belong to another identity."""

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from ..core.atomic import replace_text
from ..core.progress import Advance, silent
from ..core.types import Json
from ..errors import MelpaError

T = TypeVar("T")
SETTINGS = "settings.json"


class Study:
    """The folder `out` of a benchmark: settings.json, a JSON file for each result, and a report.

    identity: what all results have in common; another value is refused. parts: tables in which a later call may add
    entries, such as the episodes of another number of shots; an entry with another value is refused. Both are JSON.
    Without `out` results are held in memory alone. Raises MelpaError where `out` holds results of another identity.
    """

    def __init__(
        self,
        out: Path | None,
        identity: Json,
        parts: Mapping[str, Json] | None = None,
        advance: Advance = silent,
    ):
        self.out, self.advance = out, advance
        self._held: Json = {}
        shared, tables = _as_json(identity), _as_json(parts or {})
        stored = self._read(SETTINGS)
        if stored is not None:
            for name, value in shared.items():
                self._refuse_other(stored.get(name), value, name)
            for name, table in tables.items():
                known = stored.get(name, {})
                for entry in (key for key in table if key in known):
                    self._refuse_other(known[entry], table[entry], f"{name} {entry}")
                tables[name] = {**known, **table}
        self._write(SETTINGS, {**(stored or {}), **shared, **tables})

    def get(self, key: str) -> Any:
        """The result of a key such as "streams/replay.seed0"; None where it is not there yet."""
        if key not in self._held:
            found = self._read(f"{key}.json")
            if found is None:
                return None
            self._held[key] = found
        return self._held[key]

    def get_or(self, key: str, make: Callable[[], T], title: str = "", weight: int = 1) -> T:
        """The result of a key, which `make` gives and which is kept where it is not there yet; a JSON value.

        weight: its amount of the progress, 0 for what is not counted. title: what the progress names, default the key.
        """
        found: T | None = self.get(key)
        if found is None:
            self.advance(0, title or key)
            found = make()
            self.put(key, found)
            self.advance(weight, title or key)
        else:
            self.advance(weight, "done before")
        return found

    def put(self, key: str, result: object) -> None:
        """Keeps a result under a key, in place of another that is there."""
        self._held[key] = result
        self._write(f"{key}.json", result)

    def report(
        self, name: str, summary: object, table: str | None = None, draw: Callable[[Path], None] | None = None
    ) -> None:
        """Writes NAME.json, table.md where there is a `table`, and what `draw` writes into the folder."""
        if self.out is None:
            return
        self._write(f"{name}.json", summary, indent=1)
        if table is not None:
            replace_text(self.out / "table.md", table)
        if draw is not None and find_spec("matplotlib"):
            draw(self.out)

    def _refuse_other(self, there: Any, here: Any, name: str) -> None:
        difference = first_difference(there, here, name)
        if difference:
            raise MelpaError(f"{self.out} holds results with {difference}; give another --out")

    def _read(self, file: str) -> Any:
        path = self.out / file if self.out else None
        return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else None

    def _write(self, file: str, value: object, indent: int | None = None) -> None:
        if self.out is not None:
            replace_text(self.out / file, json.dumps(value, indent=indent) + "\n")


def first_difference(there: Any, here: Any, name: str) -> str | None:
    """Names the first entry in which two JSON values differ, and both its values; None where they are equal."""
    if there == here:
        return None
    if isinstance(there, dict) and isinstance(here, dict):
        keys = [key for key in {**here, **there} if there.get(key) != here.get(key)]
        return first_difference(there.get(keys[0]), here.get(keys[0]), f"{name} {keys[0]}") if keys else None
    return f"{name} {there}, not {here}"


def _as_json(value: Mapping[str, object]) -> Json:
    """The value as a file gives it back: tuples as lists, keys as text."""
    read: Json = json.loads(json.dumps(value))
    return read
