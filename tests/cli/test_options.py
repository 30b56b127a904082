"""Flags that version 0.2 renamed: an old one ends in a usage error that names the new one, and only there."""

import pytest
from melpa_cli.main import app
from melpa_cli.options import RENAMED, names, renamed
from typer.testing import CliRunner


def test_a_flag_is_renamed_only_where_the_new_one_is_known() -> None:
    assert all(renamed("any", old, {new}) is not None for old, new in RENAMED.items())
    assert renamed("adapt", "--base", {"--model"}) == "--base is now --model"
    assert renamed("users prune", "--keep", {"--keep"}) is None
    assert renamed("label", "--keep", {"--user"}) is None
    assert "melpa adapt-all" in str(renamed("adapt", "--users", {"--user"}))
    assert "task-incremental" in str(renamed("bench continual", "--protocol", {"--scenario"}))


def test_an_old_flag_is_a_usage_error_that_names_the_new_one() -> None:
    for words in (["score", "--other-weights", "--user", "me", "file"], ["score", "--other-weights=1"]):
        failed = CliRunner().invoke(app, words)
        assert failed.exit_code == 2 and "--allow-other-weights" in failed.stderr
    assert CliRunner().invoke(app, ["users", "prune", "--keep"]).exit_code == 2  # known, and wants a number


@pytest.mark.parametrize(("text", "found"), [(None, ()), ("a, b,", ("a", "b")), ("", ())])
def test_names(text: str | None, found: tuple[str, ...]) -> None:
    assert names(text) == found
