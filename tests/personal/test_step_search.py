"""The number of steps: folds, the search along them, and what earlier examples allow."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toys.notes import LINES, NOTES, saved

from mlx_melpa.core.types import Episode, Example
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.cross_validation import make_folds
from mlx_melpa.personal.history import split_replay
from mlx_melpa.personal.predict import Fit
from mlx_melpa.personal.step_search import measuring
from mlx_melpa.store.run import Run


def test_folds_are_stratified_and_never_ask_what_nothing_is_left_to_know_by() -> None:
    only = Example("alone", label="rare")
    folds = make_folds([*NOTES, only], {*NOTES, only}, ("home", "work", "rare"), np.random.default_rng(0))
    asked = [e for fold in folds for e in fold.query]
    assert len(folds) == 3 and sorted(map(repr, asked)) == sorted(map(repr, NOTES))
    for fold in folds:
        assert all(sum(e.label == label for e in fold.query) in (1, 2) for label in ("home", "work"))  # of five
        assert only in fold.support and not set(fold.query) & set(fold.support)
        assert len(fold.support) + len(fold.query) == 11
    known = make_folds(NOTES, set(NOTES[:1]), ("home", "work"), np.random.default_rng(0))
    assert known == []


def test_the_best_held_out_number_of_steps_is_taken(sorting: Run) -> None:
    found = adapt_user(sorting, NOTES)
    assert (
        len(found.data.folds) == 3
        and found.steps == int(np.argmin([fit.loss for fit in found.search.fits]))
        and len(found.search.fits) <= 11
    )
    assert found.before.new == Fit(np.log(2), 0.5) and found.after.new == found.search.fits[found.steps]
    assert found.accepted == (found.after.new.loss < np.log(2) or found.after.new.accuracy > 0.5)
    assert found.version.labels == ("home", "work") and found.version.examples == 10


def test_the_search_ends_where_the_loss_falls_no_more() -> None:
    class Losses:
        """A problem whose measure gives the next of some losses."""

        def __init__(self, *losses: float):
            self.losses = iter(losses)

        def measure(self, rows: object, query: object, shared: object) -> dict[str, np.ndarray]:
            return {"loss": np.array([next(self.losses)])}

    def seen(*losses: float, patient: bool = True) -> int:
        run: Any = SimpleNamespace(problem=Losses(*losses), shared={})
        watch = measuring(run, {}, [], patient)
        return next((k for k in range(len(losses)) if not watch(k, {"rows": None})), len(losses))

    assert seen(1.0, 0.999, 0.998, 0.997, 0.9) == 3
    assert seen(1.0, 1.2, 1.1, 0.98, 0.99, 0.99, 0.99, 0.5) == 6
    assert seen(1.0, 1.2, 1.1, 1.3, 1.4, patient=False) == 5


def test_the_folds_of_one_pass_measure_what_single_ones_do(sorting: Run) -> None:
    found = adapt_user(sorting, NOTES, steps=0)
    parts, rng = sorting.setup.parts, np.random.default_rng([0, 2])
    losses = []
    for fold in make_folds(NOTES, set(NOTES), ("home", "work"), rng):
        support, query = parts.problem.prepare([fold])
        rows = parts.initializer.make(sorting.theta, support, 1)
        rows = parts.problem.with_temperature(rows, support, sorting.shared)
        losses += len(fold.query) * [parts.problem.measure(rows, query, sorting.shared)["loss"][0]]
    assert [fit.loss for fit in found.search.fits] == pytest.approx([np.mean(losses)], rel=1e-5)
    support = parts.problem.support([Episode("", tuple(NOTES), (), ("home", "work"))])
    rows = parts.problem.with_temperature(parts.initializer.make(sorting.theta, support, 1), support, sorting.shared)
    assert found.version.state.rows[0, -1] == pytest.approx(float(parts.ops.numpy(rows)[0, -1]), abs=2e-3)  # fp16


def test_few_examples_take_the_runs_own_steps(writing: Run) -> None:
    found = adapt_user(writing, [*LINES[:3], LINES[0]])
    assert (found.steps, found.data.folds, found.accepted, found.search.fits) == (writing.steps, (), True, ())
    assert found.after.new.loss < found.before.new.loss and "fewer than 8" in found.verdict.reason
    assert found.notes == ("1 of 4 examples are duplicates and count once",)


def test_auto_takes_as_many_steps_as_earlier_examples_allow(writing: Run) -> None:
    first = saved(adapt_user(writing, LINES, steps=10))
    other = [Example("", target=f"{n * 137 % 1000} {n * 59 % 100} + = {n * 91 % 1000}") for n in range(10)]
    asked: dict[str, Any] = {"previous": first, "stored": split_replay(LINES, [], ())[1]}
    free = adapt_user(writing, other, **asked, max_forgetting=100)
    half, quarter = free.steps // 2, free.steps // 4
    more, less = (
        adapt_user(writing, other, **asked, steps=k, max_forgetting=100).after.earlier.loss for k in (half, quarter)
    )  # type: ignore[index]
    assert free.steps >= 10 and free.accepted and less < more < free.after.earlier.loss  # type: ignore[index]
    held = adapt_user(writing, other, **asked, max_forgetting=(less + more) / 2 - free.before.earlier.loss)  # type: ignore[index]
    assert (held.steps, held.accepted, held.after.new) == (
        quarter,
        True,
        held.search.fits[quarter],
    )
    taken = f"{free.steps} steps are best for the new examples; {quarter} are taken, to keep earlier examples"
    assert taken in held.notes
    never = adapt_user(writing, other, **asked, max_forgetting=-1)
    assert (never.steps, never.accepted, never.notes) == (1, False, ())
