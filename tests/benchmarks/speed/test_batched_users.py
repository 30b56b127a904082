"""Many people in one pass, short."""

from pathlib import Path

from mlx_melpa.benchmarks.speed.batched_users import measure
from mlx_melpa.benchmarks.speed.settings import Settings


def test_the_short_form(shared: Path) -> None:
    found = measure(Settings(str(shared / "models" / "stories260k"), repeats=1, short=True), lambda *_: None)
    assert found["rows"]["met"]
    assert set(found["per_pass"]) == {"1", "2", "4"}
    best = max(found["per_pass"], key=lambda size: found["per_pass"][size]["value"])
    assert found["together"]["people_per_pass"] == int(best)
