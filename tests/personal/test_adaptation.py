"""One user: temperature, class means without examples, what is learned once and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from toys.notes import NOTES, saved

from mlx_melpa.core.class_means import load_class_means
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.predict import answer
from mlx_melpa.personal.score import score
from mlx_melpa.problems.language import classified
from mlx_melpa.store.run import Run


def test_many_examples_all_fit_the_temperature_and_are_solved_together(sorting: Run) -> None:
    notes = [Example(f"{e.text} {i}", label=e.label) for i in range(30) for e in NOTES]
    parts, labels = sorting.setup.parts, ("home", "work")
    version = adapt_user(sorting, notes, steps=0).version
    support = parts.problem.support([Episode("", tuple(notes), (), labels)])
    rows = parts.problem.with_temperature(parts.initializer.make(sorting.theta, support, 1), support, sorting.shared)
    assert version.state.rows[0, -1] == pytest.approx(float(parts.ops.numpy(rows)[0, -1]), abs=2e-3)  # fp16
    kept = parts.ops.numpy(parts.problem.memory(rows, support, sorting.shared)["class_sums"])[0] / (len(notes) / 2)
    (means, weights), (wanted, solved) = (np.split(each, 2, 1) for each in (version.state.means, kept))
    np.testing.assert_allclose(means, wanted, atol=1e-3)  # fp16
    # In float32 the third digit depends on the order of the sums: the system's condition number is about 1e3.
    # Solved in three parts, the weights would be 13% away.
    assert np.linalg.norm(weights.astype(np.float32) - solved) < 0.01 * np.linalg.norm(solved)


def test_class_means_answer_as_the_examples_did(sorting: Run) -> None:
    version = saved(adapt_user(sorting, NOTES, steps=2))
    problem, ops = sorting.setup.parts.problem, sorting.setup.parts.ops
    texts = [Example(t) for t in ("wash the windows of the whole house", "a call", "write to the client")]
    _, query = problem.prepare([Episode("", tuple(NOTES), tuple(texts), ("home", "work"))])
    both = problem.predict(ops.array(version.state.rows), query, sorting.shared)
    scored = ops.numpy(both)[0][ops.numpy(query["weights"])[0] > 0]
    order = np.argsort([len(problem.readout.encoder.whole(t.text)) for t in texts], kind="stable")
    found = answer(sorting, version, texts)
    np.testing.assert_allclose(found[order], scored, atol=2e-3)
    np.testing.assert_allclose(found, np.concatenate([answer(sorting, version, [t]) for t in texts]), atol=1e-4)
    assert np.ptp(found[:, 0]) > 0.01 and version.state.means.dtype == np.float16
    onehot = np.array([[e.label == "home", e.label == "work"] for e in NOTES], np.float32)
    own = classified(answer(sorting, version, NOTES)[None], onehot[None], np.ones((1, 10)))
    measured = score(sorting, version, [*NOTES, Example("x", label="new")])
    assert measured["adapted"]["accuracy"] == own["accuracy"][0] and measured["base"]["accuracy"] == 0.5
    assert measured["examples"] == 10 and "left out 1 examples" in measured["notes"][0]


def test_a_second_version_keeps_labels_and_means_of_the_first(sorting: Run) -> None:
    first = saved(adapt_user(sorting, NOTES, steps=0))
    more = [Example("train for the race", label="sport"), Example("swim ten lengths", label="sport")]
    second = adapt_user(sorting, [*NOTES[:3], *more], previous=first, steps=0).version
    assert second.labels == ("home", "work", "sport") and second.examples == 2
    np.testing.assert_array_equal(second.state.counts, [5, 5, 2])
    wide = first.state.means.shape[1] // 2  # the class means; behind them stands what ridge regression made of all
    np.testing.assert_array_equal(second.state.means[:2, :wide], first.state.means[:, :wide])
    assert len(second.state.learned) == 12
    assert answer(sorting, second, more).argmax(-1).tolist() == [2, 2]


def test_shared_numbers_of_an_import_stay_with_the_user(sorting: Run) -> None:
    first = saved(adapt_user(sorting, NOTES, steps=0))
    imported = replace(first, state=replace(first.state, shared=np.ones((1, 3), np.float32)))
    second = adapt_user(sorting, [Example("sweep", label="home")], previous=imported, steps=0).version
    assert first.state.shared is None and second.state.shared is imported.state.shared


def test_what_is_learned_already_is_refused(sorting: Run) -> None:
    first = saved(adapt_user(sorting, NOTES, steps=0))
    with pytest.raises(DataError, match="version 1 of 'me' has learned all 10 examples already"):
        adapt_user(sorting, NOTES, previous=first)


def test_what_is_given_again_counts_once_in_what_is_measured_and_stored(sorting: Run) -> None:
    first = replace(adapt_user(sorting, NOTES, steps=0).version, user="me", number=1)
    more = [Example(f"{a} the {b}", label=c) for a, b, c in [("sweep", "floor", "home"), ("sign", "offer", "work")] * 4]
    more = [Example(f"{e.text} {i}", label=e.label) for i, e in enumerate(more)]
    alone, again = (adapt_user(sorting, given, previous=first, steps=0) for given in (more, [*NOTES, *more]))
    assert again.data.new == tuple(more) and len(again.data.folds) == len(alone.data.folds) > 0
    assert (again.before.new, again.after.new) == (alone.before.new, alone.after.new)
    np.testing.assert_array_equal(again.version.state.counts, [9, 9])
    np.testing.assert_array_equal(again.version.state.means, alone.version.state.means)


def test_of_labels_only_examples_nothing_is_measured(sorting: Run) -> None:
    found = adapt_user(sorting, [Example("sweep the floor", label="home"), Example("sign the offer", label="work")])
    assert found.version.metrics["loss_after"] is found.version.metrics["accuracy"] is None and found.accepted
    three = adapt_user(sorting, [*NOTES[:2], Example("sign the offer", label="work")], steps=0)
    assert three.version.metrics["loss_after"] is not None


def test_class_means_leave_a_place_to_examples_that_stand_for_themselves() -> None:
    state = {"means": np.array([[1.0, 2], [3, 4]], np.float16), "counts": np.array([5, 2], np.int32)}
    found = load_class_means(state, ("home", "work", "new"), [*NOTES[:2], *NOTES[5:8]])
    np.testing.assert_array_equal(found["class_counts"], [[3, 0, 0]])
    np.testing.assert_array_equal(found["class_sums"], [[[3, 6], [0, 0], [0, 0]]])


def test_where_class_means_are_kept_the_row_stays(sorting: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = saved(adapt_user(sorting, NOTES, steps=2))
    today = [Example(f"{e.text} today", label=e.label) for e in NOTES]
    second = adapt_user(sorting, today, previous=first)
    assert (second.steps, len(second.search.fits)) == (0, 1)
    before, after = first.state.rows[0], second.version.state.rows[0]
    assert np.array_equal(after[:-1], before[:-1]) and after[-1] != before[-1]  # a temperature moves no class mean
    assert second.version.state.counts.sum() == 2 * len(NOTES)
    asked = adapt_user(sorting, today, previous=first, steps=3)
    assert asked.steps == 3 and not np.array_equal(asked.version.state.rows, first.state.rows)
    monkeypatch.setattr(Run, "trained_on_streams", True)
    assert len(adapt_user(sorting, today, previous=first).search.fits) > 1
