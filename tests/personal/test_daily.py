"""Day after day: stored examples are replayed and held out, a regularizer goes on, time and bytes stay constant."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlx_melpa.config.build import compose
from mlx_melpa.config.recipe import recipe_of
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.class_means import load_class_means, with_memory
from mlx_melpa.core.layout import Layout
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.evaluation.perplexity import general_ability, general_texts
from mlx_melpa.personal.acceptance import TEXTS, Measures, compare, exceeds_margin
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.history import LearnedExamples, split_replay
from mlx_melpa.personal.many_users import UserData, adapt_all
from mlx_melpa.personal.predict import Fit, answer, evaluate_state
from mlx_melpa.personal.result import Adaptation
from mlx_melpa.store import NOT_MEASURED, BitsPerByte, Reservoir, Store, UserState, Version
from mlx_melpa.store.run import Run

HOME = ["pay the gas bill", "call the plumber about the sink", "buy curtains", "water the plants", "clean the kitchen"]
WORK = ["send the report", "prepare slides for the meeting", "review the contract", "book a room", "answer the email"]
NOTES = [Example(text, label=label) for label, texts in (("home", HOME), ("work", WORK)) for text in texts]
LINES = [Example("", target=f"{word} is my name, says the {word} every day.") for word in (*"abcdefgh", "the cat")]
LABELS = ("home", "work")


def saved(outcome: Adaptation, number: int = 1) -> Version:
    return replace(outcome.version, user="me", number=number)


def held(base: Path, readout: Any, **regularizer: Any) -> Run:
    """A run from a random start with a regularizer."""
    tree = {"model": str(base), "adapter": {"kind": "lora", "rank": 2}, "tasks": {"kind": "synthetic"}}
    tree |= {"readout": readout, "rule": {"kind": "sgd", "lr": 0.05}, "learner": {"kind": "maml", "steps": 3}}
    composed = compose(recipe_of({**tree, "regularizer": regularizer}, "held"))
    return Run(Path("held"), composed, composed.begin(0), {}, "")


@pytest.fixture(scope="module")
def base(shared: Path) -> Path:
    return shared / "models/stories260k"


@pytest.mark.parametrize("labelled", [True, False])
def test_ewc_is_carried_from_day_to_day(base: Path, labelled: bool) -> None:
    examples, readout = (NOTES, "prototypes") if labelled else (LINES, "completion")
    run = held(base, readout, kind="ewc", strength=1.0, decay=0.5, learn=True)
    parts, layout = run.composed.parts, run.composed.layout
    first = saved(adapt_user(run, examples[:6], steps=2))
    assert first.state.regularizer["root"].shape == (1, layout.size)

    # The Fisher anew, one example and one row at a time.
    rows, labels, squares = parts.ops.array(first.state.rows), first.labels, []
    for example in examples[:6]:
        batch = parts.problem.support([Episode("", (example,), (), labels)])
        batch = with_memory(parts, batch, load_class_means(first.state.class_means, labels))
        slope = parts.ops.grad(lambda r, batch=batch: parts.problem.losses(r, batch, run.shared).sum(), rows)
        squares.append(parts.ops.numpy(slope)[0] ** 2)
    fisher = np.mean(squares, 0)
    fisher = np.minimum(fisher / fisher.mean(), 10)
    np.testing.assert_allclose(first.state.regularizer["root"][0] ** 2, fisher, rtol=1e-3, atol=1e-5)

    second = saved(adapt_user(run, examples[6:], previous=first, steps=3), 2)
    support = parts.problem.support([Episode("", tuple(examples[6:]), (), second.labels)])
    support = with_memory(parts, support, load_class_means(first.state.class_means, second.labels))

    def moved(carried: Any) -> np.ndarray:
        begun = {
            **adapt.resume(parts, rows, carried),
            "rows": parts.problem.with_temperature(rows, support, run.shared),
        }
        end = adapt.adapt(parts, run.theta, support, 3, begun)
        moved: np.ndarray = parts.ops.numpy(end["rows"])[0]
        return moved

    before, after = first.state.rows[0], second.state.rows[0]
    np.testing.assert_allclose(moved({"root": parts.ops.array(np.sqrt(fisher)[None])}), after, rtol=1e-3, atol=1e-4)
    assert np.abs(moved({}) - before).sum() > 1.05 * np.abs(after - before).sum()
    added = second.state.regularizer["root"][0] ** 2 - 0.5 * fisher
    assert added.min() > -1e-3 and added.max() < 10.01 and 0.3 < added.mean() <= 1


def test_what_is_carried_counts_in_bytes_and_comes_back_from_the_store(base: Path, tmp_path: Path) -> None:
    sizes = []
    for kind in ("none", "ewc"):
        run = held(base, "prototypes", kind=kind)
        with Store(tmp_path) as store:
            number = store.put(kind, adapt_user(run, NOTES, steps=1).version)
            sizes.append(store.get(kind, number).nbytes)
            back = store.latest(kind)
        assert back is not None and adapt_user(run, [Example("sweep", label="home")], previous=back, steps=1)
    own = run.layout.size
    assert 2 * own <= sizes[1] - sizes[0] <= 2 * own + 128


def test_many_people_carry_what_each_would_alone(base: Path, tmp_path: Path) -> None:
    run = held(base, "prototypes", kind="ewc")
    people = {"a": UserData(NOTES[:7]), "b": UserData([*NOTES[:2], *NOTES[5:9]])}
    with Store(tmp_path) as store:
        assert {one.user for one in adapt_all(run, people, store, "job", steps=2)} == set(people)
        for user, data in people.items():
            latest, alone = store.latest(user), adapt_user(run, data.examples, steps=2).version.state
            assert latest is not None
            np.testing.assert_allclose(
                latest.state.regularizer["root"], alone.regularizer["root"], rtol=5e-2, atol=2e-2
            )


def test_a_linear_head_leaves_nobody_out_and_keeps_its_temperature(base: Path) -> None:
    run = held(base, {"kind": "linear", "ways": 5}, kind="none")
    first = saved(adapt_user(run, NOTES, steps=3))
    more = adapt_user(run, [Example(f"{e.text} now", label=e.label) for e in NOTES], previous=first, steps=0)
    np.testing.assert_array_equal(more.version.state.rows, first.state.rows)


def test_one_person_s_labels_too_many_hold_up_nobody(base: Path, tmp_path: Path) -> None:
    run = held(base, {"kind": "linear", "ways": 5}, kind="none")
    many = [Example(e.text, label=f"{i % 6}") for i, e in enumerate(NOTES)]
    people = {"few": UserData(NOTES[::3]), "many": UserData(many)}
    with Store(tmp_path) as store:
        told = {one.user: one for one in adapt_all(run, people, store, "job", steps=1)}
    assert (told["few"].number, told["many"].number) == (1, None)
    assert "6 labels are more than the 5" in told["many"].reason


def test_kept_examples_are_halved_for_good_and_those_given_again_are_left_out() -> None:
    kept = [Example(f"note {i}", label=LABELS[i % 2]) for i in range(200)]
    odd, even = split_replay(kept, [], LABELS)
    assert 70 < len(odd) < 130 and {*odd, *even} == {*kept} and len(odd) + len(even) == 200
    assert split_replay(kept[::-1], [], LABELS) == (odd[::-1], even[::-1])
    assert split_replay(kept, kept[:10], LABELS) == tuple(
        [e for e in half if e not in kept[:10]] for half in (odd, even)
    )
    assert split_replay(kept, [], ("home",)) == tuple([e for e in half if e.label == "home"] for half in (odd, even))
    assert split_replay(kept, [], ()) == ([], [])


def test_class_means_leave_a_place_to_examples_that_stand_for_themselves() -> None:
    state = {"means": np.array([[1.0, 2], [3, 4]], np.float16), "counts": np.array([5, 2], np.int32)}
    found = load_class_means(state, ("home", "work", "new"), [*NOTES[:2], *NOTES[5:8]])
    np.testing.assert_array_equal(found["class_counts"], [[3, 0, 0]])
    np.testing.assert_array_equal(found["class_sums"], [[[3, 6], [0, 0], [0, 0]]])


def test_counts_stay_those_of_all_examples_when_some_are_replayed(sorting: Run) -> None:
    first = saved(adapt_user(sorting, NOTES, steps=1))
    more = [Example("sweep the floor", label="home"), Example("sign the offer", label="work")]
    found = adapt_user(sorting, more, previous=first, steps=1, stored=NOTES)
    assert (
        len(found.data.replayed) + len(found.data.held_out) == 10
        and len(found.data.replayed)
        and len(found.data.held_out)
    )
    np.testing.assert_array_equal(found.version.state.counts, [6, 6])
    assert found.data.new == tuple(more) and len(found.version.state.learned) == 12


def test_a_label_that_a_version_has_not_learned_counts_as_a_guess(sorting: Run) -> None:
    first, labels = saved(adapt_user(sorting, NOTES, steps=0)), (*LABELS, "new")
    known, strange = Example("sweep the floor", label="home"), Example("sing a song", label="new")
    alone = evaluate_state(sorting, first.state, [known], labels)
    both = evaluate_state(sorting, first.state, [known, strange], labels)
    assert both.loss == pytest.approx((alone.loss + np.log(3)) / 2)
    assert both.accuracy is not None and alone.accuracy == 2 * both.accuracy


def test_the_fit_to_earlier_examples_is_that_of_the_answers(sorting: Run) -> None:
    first = saved(adapt_user(sorting, NOTES, steps=1))
    found = adapt_user(sorting, [Example("sweep the floor", label="home")], previous=first, steps=2, stored=NOTES)
    _, judging = split_replay(NOTES, [], LABELS)
    assert found.data.held_out == tuple(judging)
    fits = (found.before.earlier, found.after.earlier)
    for said, version in zip(fits, (first, found.version), strict=True):
        assert said is not None
        likely = answer(sorting, version, judging)
        onehot = np.array([[label == e.label for label in LABELS] for e in judging])
        assert said.loss == pytest.approx(-np.log(likely[onehot]).mean(), rel=1e-4)
        assert said.accuracy == pytest.approx((likely.argmax(-1) == onehot.argmax(-1)).mean())
    metrics = found.version.metrics
    assert (metrics["earlier_before"], metrics["earlier_after"]) == tuple(fit.loss for fit in fits)


def test_a_version_that_forgets_is_rejected_unless_the_margin_allows_it(writing: Run) -> None:
    first = saved(adapt_user(writing, LINES, steps=10))
    other = [Example("", target=f"{n * 137 % 1000} {n * 59 % 100} + = {n * 91 % 1000}") for n in range(7)]
    asked: dict[str, Any] = {
        "previous": first,
        "steps": 20,
        "stored": [e for e in LINES if e in split_replay(LINES, [], ())[1]],
    }
    worse = adapt_user(writing, other, **asked, max_forgetting=0.02)
    assert worse.after.earlier is not None and worse.after.earlier.loss > worse.before.earlier.loss + 0.02
    assert (worse.accepted, worse.data.folds, worse.data.replayed) == (False, (), ())
    assert worse.verdict.forgotten == "earlier examples" and "the allowed 0.02" in worse.verdict.reason
    assert adapt_user(writing, other, **asked, max_forgetting=100).accepted
    # With nothing kept nobody knows but plain text.
    assert adapt_user(writing, other, previous=first, steps=20, max_forgetting=100).accepted


def test_bits_per_byte_are_measured_and_may_rise_by_a_margin(writing: Run) -> None:
    texts = general_texts()[TEXTS]
    base, first = general_ability(writing.composed, texts=texts), adapt_user(writing, LINES, steps=10)
    under = general_ability(writing.composed, writing.acting(first.version.state.rows), texts)
    assert first.before.bits_per_byte == BitsPerByte(base, base)
    assert first.after.bits_per_byte == first.version.bits_per_byte == BitsPerByte(base, under)
    assert first.accepted, "a first version is not held to the base"
    other = [Example("", target=f"{n * 137 % 1000} {n * 59 % 100} + = {n * 91 % 1000}") for n in range(7)]
    worse = adapt_user(writing, other, previous=saved(first), steps=20, max_forgetting=0.05)
    after = worse.after.bits_per_byte
    assert worse.before.bits_per_byte == BitsPerByte(base, under) and after.version > under + 0.05
    assert not worse.accepted and worse.verdict.forgotten == "general text"
    assert f"{after.version:.3f} bits per byte" in worse.verdict.reason
    fewer = adapt_user(writing, other, previous=saved(first), max_forgetting=0.05)
    assert fewer.accepted == fewer.verdict.keeps_earlier and (fewer.accepted or fewer.steps == 1)
    again = adapt_user(writing, other, previous=saved(first), steps=0)
    assert again.after.bits_per_byte == BitsPerByte(base, under), "known from the previous version"


def test_bits_per_byte_are_not_measured_without_a_step(sorting: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_melpa.personal.acceptance.general_ability", None)
    assert adapt_user(sorting, NOTES, steps=0).after.bits_per_byte == NOT_MEASURED


def test_replay_keeps_earlier_examples_from_getting_worse(writing: Run) -> None:
    first = saved(adapt_user(writing, LINES, steps=10))
    other = [Example("", target=f"{n * 137 % 1000} {n * 59 % 100} + = {n * 91 % 1000}") for n in range(7)]
    odd, even = split_replay(LINES, [], ())
    alone, both = (adapt_user(writing, other, previous=first, steps=20, stored=k) for k in (even, [*odd, *even]))
    assert (
        alone.after.earlier is not None and both.after.earlier is not None and len(both.data.replayed) == len(odd) > 0
    )
    assert (
        len(alone.data.held_out) == len(both.data.held_out)
        and both.after.earlier.loss < alone.after.earlier.loss - 0.05
    )


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


def test_new_examples_decide_first() -> None:
    low, high = Fit(0.5, None), Fit(1.0, None)
    previous = Version(UserState(np.zeros((1, 1))), Layout([]), "f", "b", "w", number=3)
    data: Any = SimpleNamespace(previous=previous, folds=(1, 2, 3))

    def accepted(new: tuple[Fit, Fit], earlier: tuple[float, float] | None = None, bits: Any = (None, None)) -> bool:
        old = [None, None] if earlier is None else [Fit(loss, None) for loss in earlier]
        pair = zip(new, old, (BitsPerByte(1.5, value) for value in bits), strict=True)
        verdict = compare(data, *(Measures(*one) for one in pair), 0.1)
        assert verdict.keeps_earlier or verdict.forgotten in verdict.reason or not verdict.accepted
        return verdict.accepted

    assert accepted((high, low), (1.0, 1.05)) and not accepted((high, low), (1.0, 1.15))
    assert not accepted((low, high), (1.0, 0.1))
    assert accepted((high, low), None, (1.6, 1.69)) and not accepted((high, low), None, (1.6, 1.71))
    assert exceeds_margin(1.0, float("nan"), 9) and not exceeds_margin(None, 1.0, 0)
    data.folds = ()
    assert accepted((low, high))


def test_a_person_who_begins_anew_learns_the_kept_examples_too(sorting: Run) -> None:
    found = adapt_user(sorting, NOTES[:6], steps=1, stored=[*NOTES[4:], *LINES[:1]])
    assert found.version.examples == 10 and found.after.earlier is None
    assert "6 stored examples are added to the new ones: this version starts again" in found.notes


def test_hashes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx_melpa.personal.history as module

    monkeypatch.setattr(module, "MAX_HASHES", 12)
    first = LearnedExamples.of(None).add(NOTES)
    both = first.add(LINES[:4])
    assert (
        len(both.hashes) == 12 and both.hashes[-4:].tolist() == LearnedExamples.of(None).add(LINES[:4]).hashes.tolist()
    )
    assert both.contains([*NOTES, *LINES]) == [*NOTES[2:], *LINES[:4]]


def test_thirty_days_take_the_same_time_and_bytes_each(sorting: Run, tmp_path: Path) -> None:
    seconds, sizes = [], []
    with Store(tmp_path) as store:
        for day in range(30):
            today = [Example(f"{label} thing {day}", label=label) for label in LABELS]
            began = time.process_time()
            previous = store.latest("me")
            outcome = adapt_user(
                sorting,
                today,
                previous=previous,
                steps=1,
                stored=store.stored_examples("me").examples,
                max_forgetting=10.0,
            )
            number = store.put("me", outcome.version, activate=outcome.accepted, keep=Reservoir(8, outcome.data.new))
            seconds.append(time.process_time() - began)
            sizes.append(store.get("me", number).nbytes - 8 * len(outcome.version.state.learned))
        assert len(store.stored_examples("me").examples) == 8 and store.stored_examples("me").seen == 60
        assert store.latest("me").state.counts.tolist() == [30, 30]  # type: ignore[union-attr]
    assert max(sizes[2:]) - min(sizes[2:]) <= 8  # safetensors pads its header to 8 bytes
    assert min(seconds[-10:]) < 1.5 * min(seconds[5:15])
