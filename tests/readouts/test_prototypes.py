"""Prototypes against direct computations in NumPy; padded tasks."""

from collections.abc import Callable

import numpy as np
import pytest
from toys.texts import each_alone, episode, random_rows

from mlx_melpa.backends.mlx import ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.problems.language import Language, language
from mlx_melpa.readouts.labels import labels
from mlx_melpa.readouts.prototypes import FeatureSettings, prototypes

Unshared = Callable[[Language], Language]


def feature(problem: Language, row: np.ndarray, text: str) -> np.ndarray:
    """The mean last state, then the mean of the first block's output where that is frozen, each of length 1."""
    tokens = ops.array([list(problem.readout.encoder.whole(text))])
    states = [problem.model.hidden(ops.array(row[None]), tokens)]
    states += [problem.model.frozen_states(tokens)[0]] if problem.model.frozen_blocks else []
    means = [ops.numpy(s)[0].mean(0).astype(np.float64) for s in states]
    return np.concatenate([m / np.sqrt(m @ m + 1e-6) for m in means])


def leave_one_out(problem: Language, row: np.ndarray, one: Episode, scored: tuple[Example, ...]) -> np.ndarray:
    """Logits (B, N) by the definition, one example after another."""
    support = [(feature(problem, row, e.text), e) for e in one.support]
    out = np.full((len(scored), len(one.labels)), -1e9)
    for i, example in enumerate(scored):
        f = feature(problem, row, example.text)
        for c, label in enumerate(one.labels):
            members = [g for g, e in support if e.label == label and e is not example]
            if any(e.label == label for _, e in support):
                mean = np.sum(members, axis=0) if members else np.zeros_like(f)
                size = max(float(np.linalg.norm(mean)), 1e-3)
                out[i, c] = np.exp(row[-1]) * (f @ mean) / (np.linalg.norm(f) * size)
    return out


def cross_entropy(logits: np.ndarray, one: Episode, scored: tuple[Example, ...]) -> float:
    place = [one.labels.index(e.label or "") for e in scored]
    top = logits.max(-1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(-1))
    return float((total - logits[np.arange(len(scored)), place]).mean())


@pytest.mark.parametrize("shots", [1, 3])
def test_prototypes_agree_with_a_leave_one_out_loop(stories: Adapted, shots: int, unshared: Unshared) -> None:
    problem = unshared(
        language(ops, stories, prototypes(ops, stories.base.tokenizer, features=FeatureSettings(temperature=7.0)))
    )
    one = episode(1, shots=shots)
    row = random_rows(problem, 1)[0]
    assert row[-1] == pytest.approx(np.log(7.0))
    support, query = problem.prepare([one])
    for batch, scored in ((support, one.support), (query, one.query)):
        found = float(ops.numpy(problem.losses(ops.array(row[None]), batch, {}))[0])
        # Alone in its class, nothing is left to know an example by.
        counted = scored if scored is one.query or shots > 1 else ()
        wanted = cross_entropy(leave_one_out(problem, row, one, counted), one, counted) if counted else 0.0
        assert found == pytest.approx(wanted, rel=2e-3)
    answers = problem.measure(ops.array(row[None]), query, {})
    logits = leave_one_out(problem, row, one, one.query)
    right = [one.labels[a] == e.label for a, e in zip(logits.argmax(-1), one.query, strict=True)]
    assert answers["accuracy"][0] == pytest.approx(np.mean(right))


@pytest.mark.parametrize("kind", ["prototypes", "labels"])
def test_ragged_tasks_in_one_pass_equal_each_alone(stories: Adapted, kind: str, unshared: Unshared) -> None:
    readout = {"prototypes": prototypes, "labels": labels}[kind](ops, stories.base.tokenizer)
    problem = unshared(language(ops, stories, readout))
    # Fewer labels, fewer examples, fewer queries: all padded.
    episodes = [episode(1, "abc", 3, 2), episode(2, "ab", 1, 3), episode(3, "abcd", 2, 1)]
    rows = random_rows(problem, 3)
    for part, batch in enumerate(problem.prepare(episodes)):
        together = ops.numpy(problem.losses(ops.array(rows), batch, {}))
        np.testing.assert_allclose(together, each_alone(problem, rows, episodes, part), rtol=2e-4)
    query = problem.prepare(episodes)[1]
    measured = problem.measure(ops.array(rows), query, {})
    np.testing.assert_allclose(measured["loss"], ops.numpy(problem.losses(ops.array(rows), query, {})), rtol=1e-4)
    for t, one in enumerate(episodes):
        alone = problem.measure(ops.array(rows[t : t + 1]), problem.prepare([one])[1], {})
        assert measured["accuracy"][t] == pytest.approx(alone["accuracy"][0])


def test_padded_tasks_have_gradients_of_their_own_rows_alone(stories: Adapted, unshared: Unshared) -> None:
    problem = unshared(language(ops, stories, prototypes(ops, stories.base.tokenizer)))
    episodes = [episode(1, "abc", 3, 1), episode(2, "ab", 2, 1)]
    rows = random_rows(problem, 2)
    support, _ = problem.prepare(episodes)
    both = ops.numpy(ops.grad(lambda r: problem.losses(r, support, {}).sum(), ops.array(rows)))
    assert np.isfinite(both).all()
    for t in range(2):
        one = problem.prepare(episodes[t : t + 1])[0]
        alone = ops.numpy(ops.grad(lambda r, one=one: problem.losses(r, one, {}).sum(), ops.array(rows[t : t + 1])))[0]
        assert np.linalg.norm(both[t] - alone) <= 1e-3 * np.linalg.norm(alone) + 1e-6
