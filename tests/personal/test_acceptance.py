"""The acceptance test: the losses before and after, forgetting, and general text."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toys.notes import LABELS, LINES, NOTES, saved

from mlx_melpa.core.layout import Layout
from mlx_melpa.core.types import Example
from mlx_melpa.evaluation.perplexity import general_ability, general_texts
from mlx_melpa.personal.acceptance import TEXTS, Measures, compare, exceeds_margin
from mlx_melpa.personal.adaptation import adapt_user
from mlx_melpa.personal.history import split_replay
from mlx_melpa.personal.predict import Fit, answer, evaluate_state
from mlx_melpa.store import NOT_MEASURED, BitsPerByte, UserState, Version
from mlx_melpa.store.run import Run


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
    base, first = general_ability(writing.setup, texts=texts), adapt_user(writing, LINES, steps=10)
    under = general_ability(writing.setup, writing.acting(first.version.state.rows), texts)
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
