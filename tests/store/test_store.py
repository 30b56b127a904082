"""The store: what goes in comes out, and versions follow one another."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.versions import LAYOUT, made

from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.errors import StoreError
from mlx_melpa.store import BitsPerByte, Origin, Store, UserState, Version
from mlx_melpa.store.version import NO_STATE


def test_a_state_comes_back_and_rows_are_rounded_to_half(store: Store) -> None:
    rng = np.random.default_rng(0)
    rows, fisher = (rng.normal(size=(1, LAYOUT.size)).astype(np.float32) for _ in range(2))
    means = rng.normal(size=(3, 5)).astype(np.float16)
    state = UserState(rows, means, np.array([1, 2, 3], np.int32), np.array([7, 2**63], np.uint64), {"root": fisher})
    metrics = {"steps": 5, "loss_before": 2.5, "loss_after": np.float32(0.5)}
    origin = Origin("mlx", {"kind": "lora"}, {"kind": "ridge"}, "labels")
    made = Version(state, LAYOUT, "f", "b", "w", None, "import", 10, ("x", "ü"), metrics, "a cook", origin)
    number = store.put("me", replace(made, bits_per_byte=BitsPerByte(1.5, 1.25), job="j1"))
    back = store.latest("me")
    assert number == 1 and back is not None and back.state.rows.dtype == np.float32
    np.testing.assert_array_equal(back.state.rows, rows.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(back.state.regularizer["root"], fisher.astype(np.float16).astype(np.float32))
    for name, array in state.arrays().items():
        found = back.state.arrays()[name]
        if name in ("means", "counts", "learned"):
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype
    assert back.layout == LAYOUT and back.labels == ("x", "ü") and back.run is None and back.examples == 10
    assert back.metrics == {"steps": 5, "loss_before": 2.5, "loss_after": 0.5} and back.description == "a cook"
    assert (back.origin, back.bits_per_byte, back.job) == (origin, BitsPerByte(1.5, 1.25), "j1")
    assert store.with_job("j1") == {"me"} and store.with_job("j2") == set()
    assert (back.kind, back.user, back.parent, back.active) == ("import", "me", None, True)
    exact = 4 * LAYOUT.size + 2 * 15 + 4 * 3 + 8 * 2
    assert exact < back.nbytes < exact + 400


def test_fields_that_version_0_1_wrote_are_read(store: Store) -> None:
    store.put("me", made(1.0))
    metrics = {"steps": 2, "backend": "torch", "form": "labels", "order": "j1", "random_start": True}
    metrics |= {"adapter": {"kind": "lora"}, "readout": {"kind": "ridge", "primed": 3}}
    metrics |= {"general_base": 1.5, "general": None}
    about = json.dumps({"labels": ["x", "y"], "metrics": metrics, "about": "a cook"})
    store._db.all("UPDATE versions SET about = ?", about)
    back = store.latest("me")
    assert back is not None and back.metrics == {"steps": 2} and back.labels == ("x", "y")
    assert back.origin == Origin("torch", {"kind": "lora"}, {"kind": "ridge", "metric_episodes": 3}, "labels")
    assert (back.description, back.bits_per_byte, back.job) == ("a cook", BitsPerByte(1.5, None), "j1")
    assert store.with_job("j1") == {"me"}


def test_an_import_of_version_0_1_gives_up_the_shared_numbers_of_its_row(store: Store) -> None:
    layout = Layout([Segment("q.a", (2, 2)), Segment("center", (3,), shared=True), Segment("log_scale", (1,))])
    whole = UserState(np.arange(8, dtype=np.float32)[None])
    store.put("me", made(state=whole, layout=layout, kind="import"))
    back = store.latest("me")
    assert back is not None and back.layout == layout.personal and back.parameters == 5
    np.testing.assert_array_equal(back.state.rows, [[0, 1, 2, 3, 7]])
    np.testing.assert_array_equal(back.state.shared, [[4, 5, 6]])


def test_rows_that_do_not_fit_half_stay_whole_and_infinite_ones_are_refused(store: Store) -> None:
    store.put("big", made(70000.5))
    store.put("exact", made(0.1), half=False)
    big, exact = store.latest("big"), store.latest("exact")
    assert big is not None and big.state.rows[0, 0] == 70000.5
    assert exact is not None and exact.state.rows[0, 0] == np.float32(0.1)
    with pytest.raises(StoreError, match="not finite; adapt again with fewer --steps"):
        store.put("me", made(np.nan))
    assert [p.user for p in store.users()] == ["big", "exact"]


def test_rollback_points_to_the_earlier_state_and_loses_nothing(store: Store) -> None:
    for value in (1.0, 2.0, 3.0):
        store.put("me", made(value))
    assert store.rollback("me", 1) == 4
    assert store.put("me", made(5.0)) == 5
    assert store.rollback("me", 4) == 6
    latest = store.latest("me")
    assert latest is not None and latest.state.rows[0, 0] == 1.0
    assert (latest.kind, latest.parent, latest.source) == ("rollback", 4, 1)
    versions = store.history("me")
    assert [v.parent for v in versions] == [None, 1, 2, 1, 4, 4]
    assert [v.active for v in versions] == [False] * 5 + [True]
    assert all(v.state is NO_STATE for v in versions)
    assert store.users()[0].nbytes == sum(v.nbytes for v in versions if v.source is None)


def test_prune_keeps_the_newest_the_active_and_what_they_point_to(store: Store) -> None:
    for value in (1.0, 2.0, 3.0):
        store.put("me", made(value))
    store.rollback("me", 1)
    store.put("me", made(5.0), activate=False)
    assert store.prune("me", keep=1) == [2, 3]
    assert [v.number for v in store.history("me")] == [1, 4, 5]
    latest = store.latest("me")
    assert latest is not None and latest.number == 4 and latest.state.rows[0, 0] == 1.0
    assert store.put("me", made(6.0), parent=1) == 6
    assert store.get("me", 6).parent == 1
    with pytest.raises(StoreError, match="can't keep 0 versions"):
        store.prune("me", keep=0)


def test_a_version_that_is_not_activated_leaves_the_answer(store: Store) -> None:
    store.put("new", made(1.0), activate=False)
    assert store.latest("new") is None
    store.put("new", made(2.0))
    store.put("new", made(3.0), activate=False)
    latest = store.latest("new")
    assert latest is not None and latest.state.rows[0, 0] == 2.0 and len(store.history("new")) == 3


def test_a_description_is_known_from_the_newest_version_that_has_one(store: Store) -> None:
    assert store.description("me") == ""
    store.put("me", made(1.0, description="a cook"), activate=False)
    assert store.latest("me") is None and store.description("me") == "a cook"
    store.put("me", made(2.0, description="a nurse"))
    store.put("me", made(3.0))
    assert store.description("me") == "a nurse"
    store.rollback("me", 1)
    assert store.description("me") == "a cook"


def test_unknown_users_and_versions_are_named_with_the_remedy(store: Store) -> None:
    assert store.latest("me") is None
    message = r"^no adapter for user 'my self'; run: melpa adapt --user 'my self' DATA$"
    for ask in (store.history, store.remove, store.prune, lambda user: store.get(user, 1)):
        with pytest.raises(StoreError, match=message):
            ask("my self")
    for value in (1.0, 2.0):
        store.put("me", made(value))
    for look in (store.get, store.rollback):
        with pytest.raises(StoreError, match="user 'me' has no version 7; there are: 1, 2"):
            look("me", 7)


def test_runs_are_found_by_fingerprint_name_and_family(store: Store, tmp_path: Path) -> None:
    store.add_run("clinc", tmp_path / "a", "f1", "llama-6m")
    store.add_run("clinc", tmp_path / "b", "f2", "llama-6m")
    store.add_run("other", tmp_path / "c", "f3", "qwen3")
    store.add_run("other", tmp_path / "c", "f4", "qwen3")
    assert [run.fingerprint for run in store.runs()] == ["f4", "f2", "f1"]
    assert [run.fingerprint for run in store.runs("llama-6m")] == ["f2", "f1"]
    assert store.run("clinc").path == tmp_path / "b" and store.run("f1").path == tmp_path / "a"
    with pytest.raises(StoreError, match="no run 'x', there are: clinc, other; run: melpa meta-train RECIPE"):
        store.run("x")
