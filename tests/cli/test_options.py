"""Flags that version 0.2 renamed: an old one ends in a usage error that names the new one, and only there."""

import pytest
from melpa_cli.main import app
from melpa_cli.options import names, renamed
from typer.testing import CliRunner


def test_a_flag_is_renamed_only_where_the_new_one_is_known() -> None:
    assert renamed("users prune", "--keep", {"--keep"}) is None
    assert renamed("label", "--keep", {"--user"}) is None
    assert "task-incremental" in str(renamed("bench continual", "--protocol", {"--scenario"}))


@pytest.mark.parametrize(
    ("words", "new"),
    [
        ("adapt --about", "--description"),
        ("adapt --keep=3", "--store-examples"),
        ("adapt --margin", "--max-forgetting"),
        ("adapt --users", "melpa adapt-all FILE"),
        ("score file --user me --base", "--model"),
        ("score --other-weights=1", "--allow-other-weights"),
        ("meta-train --track", "--logger"),
        ("bench continual --protocol", "--scenario"),
        ("bench continual --chunk", "--labels-per-task"),
        ("bench continual --estimate", "is gone"),
        ("bench few-shot --estimate", "is gone"),
        ("bench speed --pairs", "--repeats"),
    ],
)
def test_an_old_flag_is_a_usage_error_that_names_the_new_one(words: str, new: str) -> None:
    failed = CliRunner().invoke(app, words.split())
    assert failed.exit_code == 2 and new in " ".join(failed.stderr.replace("│", " ").split())


def test_a_flag_that_keeps_its_name_is_known() -> None:
    assert CliRunner().invoke(app, ["users", "prune", "--keep"]).exit_code == 2  # known, and wants a number


@pytest.mark.parametrize(("text", "found"), [(None, ()), ("a, b,", ("a", "b")), ("", ())])
def test_names(text: str | None, found: tuple[str, ...]) -> None:
    assert names(text) == found
