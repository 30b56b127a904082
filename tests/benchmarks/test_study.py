"""Results are kept one by one, resumed, and refused under another identity."""

import json
from pathlib import Path

import pytest

from mlx_melpa.benchmarks.study import Study, first_difference
from mlx_melpa.errors import MelpaError


@pytest.mark.parametrize("kept", [True, False])
def test_a_result_is_made_once(tmp_path: Path, kept: bool) -> None:
    told: list[tuple[float, str]] = []
    made: list[int] = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"value": len(made)}

    study = Study(tmp_path / "out" if kept else None, {"steps": 5}, advance=lambda n=1, text="": told.append((n, text)))
    assert study.get("streams/a") is None
    assert study.get_or("streams/a", make, "method a") == study.get_or("streams/a", make) == {"value": 1}
    assert told == [(0, "method a"), (1, "method a"), (1, "done before")]
    study.put("streams/a", {"value": 9})
    assert study.get("streams/a") == {"value": 9} and len(made) == 1
    assert (tmp_path / "out").exists() == kept


def test_another_study_resumes_what_is_whole(tmp_path: Path) -> None:
    Study(tmp_path, {"steps": 5}).get_or("tuning/a.b", lambda: [1, 2])
    again = Study(tmp_path, {"steps": 5})
    assert again.get_or("tuning/a.b", lambda: [3]) == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        again.get_or("tuning/c", interrupted)
    assert [path.name for path in (tmp_path / "tuning").iterdir()] == ["a.b.json"]


def interrupted() -> None:
    raise KeyboardInterrupt


def test_another_identity_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    Study(tmp_path, {"steps": 5, "recipe": {"adapter": {"rank": 8}}, "rates": (1, 2)})
    Study(tmp_path, {"steps": 5, "recipe": {"adapter": {"rank": 8}}, "rates": [1, 2]})
    before = (tmp_path / "settings.json").read_text()
    with pytest.raises(MelpaError, match=r"recipe adapter rank 8, not 4; give another --out"):
        Study(tmp_path, {"steps": 5, "recipe": {"adapter": {"rank": 4}}, "rates": [1, 2]})
    with pytest.raises(MelpaError, match="holds results with seed None, not 3"):
        Study(tmp_path, {"steps": 5, "seed": 3})
    assert (tmp_path / "settings.json").read_text() == before


def test_parts_grow_and_none_changes(tmp_path: Path) -> None:
    Study(tmp_path, {"episodes": 6}, parts={"drawn": {1: "aa"}})
    Study(tmp_path, {"episodes": 6}, parts={"drawn": {5: "bb"}, "recipes": {"maml": {"steps": 3}}})
    assert json.loads((tmp_path / "settings.json").read_text()) == {
        "episodes": 6,
        "drawn": {"1": "aa", "5": "bb"},
        "recipes": {"maml": {"steps": 3}},
    }
    with pytest.raises(MelpaError, match="drawn 1 aa, not cc"):
        Study(tmp_path, {"episodes": 6}, parts={"drawn": {1: "cc"}})
    with pytest.raises(MelpaError, match="recipes maml steps 3, not 4"):
        Study(tmp_path, {"episodes": 6}, parts={"recipes": {"maml": {"steps": 4}}})


def test_a_part_that_a_later_call_leaves_out_stays(tmp_path: Path) -> None:
    Study(tmp_path, {"episodes": 6}, parts={"drawn": {1: "aa"}})
    Study(tmp_path, {"episodes": 6})
    assert json.loads((tmp_path / "settings.json").read_text())["drawn"] == {"1": "aa"}


def test_the_report_is_written_where_there_is_a_folder(tmp_path: Path) -> None:
    Study(None, {}).report("few_shot", {}, "table")
    Study(tmp_path, {}).report("few_shot", {"best": 1}, "| a |\n", draw=lambda folder: (folder / "a.png").touch())
    assert json.loads((tmp_path / "few_shot.json").read_text()) == {"best": 1}
    assert (tmp_path / "table.md").read_text() == "| a |\n" and (tmp_path / "a.png").is_file()


def test_the_first_difference_is_named() -> None:
    assert first_difference({"a": 1, "b": {"c": [2]}}, {"a": 1, "b": {"c": [3]}}, "x") == "x b c [2], not [3]"
    assert first_difference({"a": 1}, {"a": 1}, "x") is None
    assert first_difference(None, "f0", "run") == "run None, not f0"
