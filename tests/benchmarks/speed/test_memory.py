"""MAML's memory over the number of steps, short."""

from pathlib import Path

from mlx_melpa.benchmarks.speed.memory import measure
from mlx_melpa.benchmarks.speed.settings import Settings


def test_the_short_form(shared: Path) -> None:
    found = measure(Settings(str(shared / "models" / "stories260k"), repeats=1, short=True), lambda *_: None)
    assert found["flat"]["met"]
    assert found["beside_fomaml"]["value"] > 1
    assert found["maml_6"]["kept_rows"] > found["maml_2"]["kept_rows"] > 0
    assert found["maml_2"]["resident"] > found["maml_2"]["value"] > found["base"]["value"] > 1
