"""One user: held-out steps, the acceptance test, class means without examples, what is learned once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError, ModelError, StoreError
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.cross_validation import make_folds
from mlx_melpa.personal.generation import Generator
from mlx_melpa.personal.predict import Fit, answer
from mlx_melpa.personal.preview import preview
from mlx_melpa.personal.resolve import BaseChoice, load_user, resolve_adaptation
from mlx_melpa.personal.result import Adaptation
from mlx_melpa.personal.score import score
from mlx_melpa.personal.step_search import measuring
from mlx_melpa.problems.language import classified
from mlx_melpa.store import Store
from mlx_melpa.store.run import Run

HOME = ["pay the gas bill", "call the plumber about the sink", "buy curtains", "water the plants", "clean the kitchen"]
WORK = ["send the report", "prepare slides for the meeting", "review the contract", "book a room", "answer the email"]
NOTES = [Example(text, label=label) for label, texts in (("home", HOME), ("work", WORK)) for text in texts]
LINES = [
    Example("", target=f"{word} is my name, says the {word} every single day.") for word in (*"abcdefgh", "the cat")
]


def saved(outcome: Adaptation, number: int = 1) -> Any:
    return replace(outcome.version, user="me", number=number)


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
    parts, rng = sorting.composed.parts, np.random.default_rng([0, 2])
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


def test_many_examples_all_fit_the_temperature_and_are_solved_together(sorting: Run) -> None:
    notes = [Example(f"{e.text} {i}", label=e.label) for i in range(30) for e in NOTES]
    parts, labels = sorting.composed.parts, ("home", "work")
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
    problem, ops = sorting.composed.parts.problem, sorting.composed.parts.ops
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


def test_a_worse_version_is_rejected(writing: Run) -> None:
    first = adapt_user(writing, LINES)
    assert first.accepted and first.after.new.loss < first.before.new.loss - 0.1 and first.steps > 0
    random = np.random.default_rng(0)
    noise = [Example("", target="".join(map(chr, random.integers(0x4E00, 0x9000, 6)))) for _ in range(8)]
    worse = adapt_user(writing, noise, previous=saved(first), steps=0)
    assert not worse.accepted and worse.after.new == worse.before.new and "version 1 is" in worse.verdict.reason


def test_before_is_the_base_model_for_a_new_person_who_writes(writing: Run) -> None:
    found = adapt_user(writing, LINES, steps=0)
    assert found.before.new.loss == pytest.approx(found.after.new.loss, rel=1e-5)  # a random start is the base


def test_few_examples_take_the_runs_own_steps(writing: Run) -> None:
    found = adapt_user(writing, [*LINES[:3], LINES[0]])
    assert (found.steps, found.data.folds, found.accepted, found.search.fits) == (writing.steps, (), True, ())
    assert found.after.new.loss < found.before.new.loss and "fewer than 8" in found.verdict.reason
    assert found.notes == ("1 of 4 examples are duplicates and count once",)


def test_look_counts_what_is_supervised_cut_and_twice(sorting: Run, writing: Run) -> None:
    long = Example("word " * 300, label="home")
    seen = preview(sorting, [*NOTES, NOTES[0], long, Example(HOME[0], label="work"), Example("x", label="rare")])
    assert (seen.examples, seen.duplicates, seen.conflicts, seen.cut) == (14, 1, 1, 1)
    assert seen.labels == {"home": 6, "work": 6, "rare": 1} and seen.single == ("rare",) and seen.form == "labels"
    one = [Example("", target="ab")]
    readout = writing.composed.parts.problem.readout
    seen = preview(writing, one)
    assert seen.supervised == len(readout.encoder.ids("ab")) + len(readout.encoder.last) and seen.form == "lines"
    assert seen.tokens == seen.supervised + len(readout.encoder.first)


def test_what_is_given_again_counts_once_in_what_is_measured_and_stored(sorting: Run) -> None:
    first = replace(adapt_user(sorting, NOTES, steps=0).version, user="me", number=1)
    more = [Example(f"{a} the {b}", label=c) for a, b, c in [("sweep", "floor", "home"), ("sign", "offer", "work")] * 4]
    more = [Example(f"{e.text} {i}", label=e.label) for i, e in enumerate(more)]
    alone, again = (adapt_user(sorting, given, previous=first, steps=0) for given in (more, [*NOTES, *more]))
    assert again.data.new == tuple(more) and len(again.data.folds) == len(alone.data.folds) > 0
    assert (again.before.new, again.after.new) == (alone.before.new, alone.after.new)
    np.testing.assert_array_equal(again.version.state.counts, [9, 9])
    np.testing.assert_array_equal(again.version.state.means, alone.version.state.means)


def test_kept_examples_of_a_version_that_was_taken_back_are_not_replayed(sorting: Run) -> None:
    first = replace(adapt_user(sorting, NOTES, steps=0).version, user="me", number=1)
    gone = [Example(f"sweep the floor {i}", label="home") for i in range(20)]
    found = adapt_user(sorting, [Example("sign it", label="work")], previous=first, steps=0, stored=gone)
    assert (len(found.data.replayed), len(found.data.held_out)) == (0, 0)
    np.testing.assert_array_equal(found.version.state.counts, [5, 6])


def test_of_labels_only_examples_nothing_is_measured(sorting: Run) -> None:
    found = adapt_user(sorting, [Example("sweep the floor", label="home"), Example("sign the offer", label="work")])
    assert found.version.metrics["loss_after"] is found.version.metrics["accuracy"] is None and found.accepted
    three = adapt_user(sorting, [*NOTES[:2], Example("sign the offer", label="work")], steps=0)
    assert three.version.metrics["loss_after"] is not None


def test_a_dry_run_refuses_what_an_adaptation_does(sorting: Run) -> None:
    first = replace(adapt_user(sorting, NOTES, steps=0).version, user="me", number=1)
    for given, previous in ((NOTES[:3], None), (NOTES, first)):
        with pytest.raises(DataError) as dry:
            preview(sorting, given, previous)
        with pytest.raises(DataError) as wet:
            adapt_user(sorting, given, previous=previous)
        assert str(dry.value) == str(wet.value)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([Example("x", target="y", source="f:3")], "f:3: run 'random start' gives labels, and this has none"),
        (NOTES[:5], "all 5 examples have the label 'home'; give examples of another one too"),
    ],
)
def test_examples_that_do_not_fit_are_named(sorting: Run, examples: list[Example], message: str) -> None:
    with pytest.raises(DataError) as error:
        adapt_user(sorting, examples)
    assert message in str(error.value)


def test_a_place_outlives_what_is_there_twice(writing: Run) -> None:
    said = Example("", messages=(("user", "hi"), ("assistant", "hello")), source="a.jsonl:1")
    with pytest.raises(DataError, match=r"^a.jsonl:1: 'messages' need a tokenizer with a chat template"):
        adapt_user(writing, [said, replace(said, source="a.jsonl:2")])


def test_labels_are_refused_by_a_run_that_writes(writing: Run) -> None:
    with pytest.raises(DataError, match="writes text, and this has a label"):
        adapt_user(writing, NOTES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_without_a_run_the_two_ways_to_one_are_named(store: Store, shared: Path) -> None:
    base = str(shared / "models/stories260k")
    with pytest.raises(
        StoreError, match=r"takes labelled examples; make one with: melpa prepare .*stories260k, or start"
    ):
        resolve_adaptation(store, "me", NOTES, choice=BaseChoice(base))
    with pytest.raises(
        StoreError, match="no run takes text without labels; make one with: melpa prepare pocket --tasks"
    ):
        resolve_adaptation(store, "me", LINES)


def test_a_random_start_opens_again_and_goes_on(store: Store, sorting: Run, shared: Path) -> None:
    store.put("me", adapt_user(sorting, NOTES, steps=1).version)
    run, version = load_user(store, "me")
    assert (run.fingerprint, version.run, version.origin.form) == ("", None, "labels")
    _, previous, notes = resolve_adaptation(store, "me", NOTES)
    assert previous is not None and previous.number == 1 and notes == ()
    other = str(shared / "models/tinystories-instruct-3m")
    with pytest.raises((ModelError, StoreError)) as refused:
        load_user(store, "me", BaseChoice(other))
    assert "stories260k" in str(refused.value) and "tinystories-instruct-3m" in str(refused.value)


def test_strength_zero_is_the_base_and_the_model_is_left_clean(writing: Run) -> None:
    writer = Generator(writing, saved(adapt_user(writing, LINES, steps=10)), max_tokens=12, temp=0)
    say: Callable[..., str] = lambda **how: "".join(writer.write([("user", "Once")], **how))  # noqa: E731
    base, adapted = say(adapted=False), say()
    writer.strength = 0.0
    assert base == say() == say(adapted=False) != adapted
