"""Processes at one store: nothing is lost by a kill or a race."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mlx_melpa.store import Store

WRITER = """
import sys
from pathlib import Path
import numpy as np
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.store import Store, UserState, Version
layout = Layout([Segment("w", (20_000,))])
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
for i in range(int(sys.argv[2])):
    rows = np.full((1, 20_000), float(i % 1000), np.float32)
    store.put("me", Version(UserState(rows), layout, "f", "b", "w", metrics={"value": i % 1000}))
"""


def writer(folder: Path, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_a_kill_at_any_point_leaves_whole_versions_only(tmp_path: Path) -> None:
    rng, known = np.random.default_rng(), 0
    for _ in range(6):
        process = writer(tmp_path, 100_000)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with Store(tmp_path) as store:
            numbers = [v.number for v in store.history("me")] if store.users() else []
            latest = store.latest("me")
            assert store._db.one("PRAGMA integrity_check")[0] == "ok"
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= known
        known = len(numbers)
        if latest is not None:
            assert latest.number == known and (latest.state.rows == latest.metrics["value"]).all()
    assert known > 0


def test_two_processes_on_one_new_store_both_end_in_the_history(tmp_path: Path) -> None:
    processes = [writer(tmp_path, 20) for _ in range(2)]
    assert [process.wait(30) for process in processes if process.communicate()] == [0, 0]
    with Store(tmp_path) as store:
        versions = store.history("me")
    assert [v.number for v in versions] == list(range(1, 41))
    assert [v.parent for v in versions] == [None, *range(1, 40)]
    assert sorted(v.metrics["value"] for v in versions) == sorted([*range(20), *range(20)])
    assert [file.name for file in tmp_path.iterdir()] == ["store.sqlite3"]
