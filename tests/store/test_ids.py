"""Users' ids: any script, normalised, without control characters."""

import pytest
from toys.versions import made

from mlx_melpa.errors import StoreError
from mlx_melpa.store import Store, check_id


@pytest.mark.parametrize(
    "user", ["me", "a/../b", "Ольга", "山田 太郎", "محمد", "👩", "'; DROP TABLE users;--", "x" * 128]
)
def test_ids_of_any_script_are_kept_as_they_are(store: Store, user: str) -> None:
    assert check_id(user) == user
    store.put(user, made(1.0))
    assert store.users()[0].user == user and store.latest(user) is not None


def test_ids_are_normalised(store: Store) -> None:
    store.put("  Zoe\u0308 ", made(1.0))
    assert store.history("Zo\u00eb")[0].user == "Zoë"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", "has 0 characters"),
        ("   ", "has 0 characters"),
        ("x" * 129, "has 129 characters; choose one of 1 to 128"),
        ("me\n", r"'me\\n' holds the control character U\+000A"),
        ("a\u202eb", r"U\+202E"),
        ("a\u2028b", r"U\+2028"),
        ("a\ud800", r"U\+D800"),
        ("a\x00", r"U\+0000"),
    ],
)
def test_ids_that_are_refused(user: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        check_id(user)
