"""`melpa adapt`: what is stored, said and refused; whole versions whatever happens to the process."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from melpa_cli.main import app
from typer.testing import CliRunner

from mlx_melpa.core.types import Example
from mlx_melpa.personal import resolve as find
from mlx_melpa.personal.history import split_replay
from mlx_melpa.store import Store
from mlx_melpa.store.untrained import untrained_run

invoke = CliRunner().invoke
START = [sys.executable, "-c", "from melpa_cli.main import app; app(prog_name='melpa')", "adapt", "--user", "me"]
Notes = Callable[..., Path]


def adapt(*words: object, user: str = "me") -> dict[str, object]:
    done = invoke(app, ["adapt", "--user", user, *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*words: object) -> str:
    done = invoke(app, ["adapt", "--user", "me", *map(str, words)])
    assert done.exit_code == 1 and "Traceback" not in done.output
    return done.stderr


@pytest.mark.usefixtures("home")
def test_a_version_is_stored_and_reported(lines: Path) -> None:
    said = adapt(lines)
    assert (said["version"], said["active_version"], said["accepted"], said["folds"]) == (1, 1, True, 3)
    assert said["run"] == "writing" and said["loss_after"] < said["loss_before"]
    with Store() as store:
        version = store.get("me", 1)
    shown = json.loads(invoke(app, ["users", "show", "me", "--json"]).stdout)
    assert shown["parameters"] == version.layout.size == version.state.rows.size
    assert version.active and version.metrics["steps"] == said["steps"] and version.nbytes == said["bytes"]
    assert version.state.rows.shape == (1, version.layout.size) and version.run is not None
    shown = invoke(app, ["adapt", "--user", "you", str(lines)])
    general = said["bits_per_byte"]
    assert general["before"] == general["base"] and general["unchanged"] == (said["steps"] == 0)
    assert "general text, bits per byte" in shown.stdout and "by the base" in shown.stdout
    assert "loss on held-out examples" in shown.stdout and 'Next: melpa generate --user you "PROMPT"' in shown.stdout


@pytest.mark.usefixtures("home")
def test_few_examples_are_said_to_be_held_out_nowhere(tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("One line.\nAnother line.\n")
    shown = invoke(app, ["adapt", "--user", "me", str(few)])
    assert shown.exit_code == 0 and "with fewer than 8 new examples none are held out" in shown.stderr


@pytest.mark.usefixtures("home")
def test_a_version_that_is_no_better_is_kept_aside(lines: Path, tmp_path: Path) -> None:
    adapt(lines)
    other = tmp_path / "other.txt"
    other.write_text("".join(f"{chr(0x4E00 + 97 * i) * 3}\n" for i in range(8)))
    said = adapt(other, "--steps", "0")
    assert (said["version"], said["active_version"], said["accepted"]) == (2, 1, False)
    other.write_text("".join(f"{chr(0x5E00 + 97 * i) * 3}\n" for i in range(8)))
    shown = invoke(app, ["adapt", "--user", "me", str(other), "--steps", "0"]).stdout
    assert "version 1 stays active: on held-out examples the loss would be" in shown
    assert "melpa users rollback me 3" in shown
    with Store() as store:
        assert store.latest("me").number == 1 and len(store.history("me")) == 3


@pytest.mark.usefixtures("home")
def test_examples_are_kept_only_where_that_is_asked_for(notes: Notes) -> None:
    said = adapt(notes(), "--steps", "1")
    assert (said["examples_kept"], said["replayed"], said["forgetting_check"]) == (0, 0, None)
    with Store() as store:
        assert not any(text in store.path.read_bytes() for text in (b"gas bill", b"curtains"))
    few = notes(" soon")
    few.write_text("".join(few.read_text().splitlines(keepends=True)[2:8]))
    said = adapt(few, "--steps", "1", "--store-examples", "5")
    assert (said["examples_kept"], said["forgetting_check"]) == (5, None)
    shown = invoke(app, ["adapt", "--user", "me", str(notes(" later")), "--steps", "1"])
    assert "examples stored 5 of at most 5" in " ".join(shown.stdout.split())
    assert "loss on" in shown.stdout and "earlier examples" in shown.stdout and "before," in shown.stdout
    with Store() as store:
        kept = store.stored_examples("me")
    assert kept.seen == 6 and all(e.text.endswith(" soon") for e in kept.examples)


@pytest.mark.usefixtures("home")
def test_earlier_examples_may_not_get_worse(tmp_path: Path) -> None:
    said = [Example("", target=f"{word} is my name, says the {word} every day.") for word in "abcdefghijkl"]
    _, judge = split_replay(said, [], ())
    judge, first, other = judge[:5], tmp_path / "first.txt", tmp_path / "other.txt"
    first.write_text("".join(f"{e.target}\n" for e in judge))
    adapt(first, "--steps", "10", "--store-examples", "9")
    other.write_text("".join(f"{n * 137 % 1000} {n * 59 % 100} + = {n * 91 % 1000}\n" for n in range(6)))
    worse = adapt(other, "--steps", "20", "--max-forgetting", "0.01")
    assert (worse["version"], worse["active_version"], worse["accepted"], worse["replayed"]) == (2, 1, False, 0)
    assert worse["forgetting_check"]["after"]["loss"] > worse["forgetting_check"]["before"]["loss"] + 0.01
    assert worse["forgetting_check"]["examples"] == worse["examples_kept"] == len(judge)
    assert worse["reason"].startswith("the loss on earlier examples would be")
    taken = adapt(other, "--steps", "20", "--max-forgetting", "9", "--store-examples", "9")
    assert (taken["active_version"], taken["examples_kept"]) == (3, min(9, len(judge) + 6))
    assert "--max-forgetting" in invoke(app, ["adapt", "--user", "me", str(other), "--max-forgetting", "-1"]).output


@pytest.mark.usefixtures("home")
def test_labels_find_the_run_that_gives_them_and_dry_run_stores_nothing(notes: Notes) -> None:
    data = notes()
    data.write_text(data.read_text() * 2)
    seen = json.loads(invoke(app, ["adapt", "--user", "me", str(data), "--dry-run", "--json"]).stdout)
    assert (seen["run"], seen["examples"], seen["duplicates"]) == ("sorting", 20, 10)
    assert seen["labels"] == {"home": 5, "work": 5}
    shown = invoke(app, ["adapt", "--user", "me", str(data), "--dry-run"]).stdout
    assert "label home" in shown and "Nothing was learned" in shown
    with Store() as store:
        assert store.users() == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("ending", ["csv", "jsonl.gz"])
def test_other_files(tmp_path: Path, notes: Notes, ending: str) -> None:
    import gzip

    rows = [json.loads(line) for line in notes().read_text().splitlines()]
    path = tmp_path / f"mine.{ending}"
    if ending == "csv":
        path.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows))
    else:
        path.write_bytes(gzip.compress(notes().read_bytes()))
    assert adapt(path, "--steps", "0")["labels"] == ["home", "work"]


def test_refusals_name_the_thing_and_the_remedy(
    home: Path, trained: Path, shared: Path, notes: Notes, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "a", "label": "b"}\n{"text": \n')
    assert f"{broken}:2: malformed JSON" in refused(broken)
    assert "--steps many: give auto, or a number" in refused(notes(), "--steps", "many")
    other = shared / "models/tinystories-instruct-3m"
    said = refused(notes(), "--run", trained / "sorting", "--model", other)
    assert "stories260k" in said and "tinystories-instruct-3m" in said and "run 'sorting' was made for base" in said
    assert "no run 'nosuch', there are: sorting, writing" in refused(notes(), "--run", "nosuch")
    assert f"melpa prepare {other}" in refused(notes(), "--model", other)
    assert "gives labels, and this has none" in refused(_text(tmp_path), "--run", "sorting")


def test_a_run_from_elsewhere_is_found_again(
    trained: Path, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELPA_HOME", str(tmp_path / "new"))
    adapt(notes(), "--run", trained / "sorting", "--steps", "0")
    done = invoke(app, ["label", "--user", "me", "where is it", "--json"])
    assert done.exit_code == 0, done.output
    with Store() as store:
        assert [run.path for run in store.runs()] == [(trained / "sorting").resolve()]


def _text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_text("one\ntwo\n")
    return path


def test_a_random_start_is_marked(home: Path, shared: Path, lines: Path) -> None:
    done = invoke(
        app, ["adapt", "--user", "me", str(lines), "--random-start", "--model", str(shared / "models/stories260k")]
    )
    assert done.exit_code == 0 and "this is a random start, not meta-learned" in done.stderr
    with Store() as store:
        version = store.get("me", 1)
    assert version.run is None
    assert version.origin.adapter == {"kind": "lora", "rank": 8, "scale": 2.0, "sites": ["*"], "layers": "all"}


@pytest.mark.usefixtures("home")
def test_a_random_start_that_another_readout_made_is_begun_anew(
    shared: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of both readouts are alike, and what they remember is not."""
    base = str(shared / "models/stories260k")
    earlier = untrained_run(
        base, {"kind": "lora", "rank": 8, "scale": 2.0}, {"kind": "prototypes", "metric": "plain"}, None
    )
    with monkeypatch.context() as patch:
        patch.setattr(find, "random_run", lambda *_: earlier)
        assert invoke(app, ["adapt", "--user", "me", str(notes()), "--random-start", "--model", base]).exit_code == 0
    earlier.setup.model.detach()
    again = invoke(app, ["adapt", "--user", "me", str(notes(" later")), "--random-start", "--model", base])
    assert again.exit_code == 0 and "starts again" in again.output, again.output


@pytest.mark.usefixtures("home")
def test_two_processes_at_once_both_end_in_the_history(notes: Notes) -> None:
    pair = [subprocess.Popen([*START, str(notes(ending)), "--steps", "1"]) for ending in ("", " soon")]
    assert [process.wait(120) for process in pair] == [0, 0]
    with Store() as store:
        assert [v.number for v in store.history("me")] == [1, 2]
        assert {v.state.rows.shape for v in (store.get("me", 1), store.get("me", 2))} == {(1, v_size(store))}


def v_size(store: Store) -> int:
    return store.get("me", 1).layout.size


@pytest.mark.usefixtures("home")
def test_kill_leaves_the_last_whole_version(notes: Notes) -> None:
    adapt(notes(), "--steps", "1")
    for i, seconds in enumerate((0.2, 0.8, 1.2, 1.6, 2.0)):
        process = subprocess.Popen([*START, str(notes(f" {i}")), "--steps", "1"], stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Store() as store:
            numbers = [v.number for v in store.history("me")]
            assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) <= i + 2
            last = store.get("me", numbers[-1])
        assert last.state.rows.shape == (1, last.layout.size) and len(last.state.means) == 2
    assert adapt(notes(" more"), "--steps", "1")["version"] == numbers[-1] + 1
