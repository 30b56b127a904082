"""Ridge regression as a readout, against NumPy's own solution of each leave-one-out problem."""

from collections.abc import Callable
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

import numpy as np
import pytest

from mlx_melpa.backends.mlx import model, ops
from mlx_melpa.config.build import engine
from mlx_melpa.config.kinds import kinds
from mlx_melpa.core.class_means import average, load_class_means
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.problems.language import Language, language
from mlx_melpa.readouts.prototypes import FeatureSettings, prototypes
from mlx_melpa.readouts.ridge import inverse, ridge

WORDS = ("the", "little", "dog", "ran", "to", "a", "big", "red", "house", "and", "saw", "one", "happy", "bird", "tree")
STRENGTH, HEAT = 0.4, 6.0


@pytest.fixture(scope="module")
def adapted(shared: Path) -> Any:
    from mlx_melpa.backends.mlx.adapted import Adapted

    base = model.load(str(shared / "models" / "stories260k"))
    return Adapted(base, kinds("adapter")["lora"](rank=2, sites=["q_proj", "v_proj"], layers=2))


@pytest.fixture
def problem(adapted: Any, unshared: Callable[[Language], Language]) -> Language:
    return unshared(
        language(
            ops,
            adapted,
            ridge(ops, adapted.base.tokenizer, strength=STRENGTH, features=FeatureSettings(temperature=HEAT)),
        )
    )


def episode(seed: int, names: str = "abc", shots: int = 3, queries: int = 2) -> Episode:
    """Names are labels; one that stands twice has twice the examples."""
    rng = np.random.default_rng(seed)

    def some(count: int) -> tuple[Example, ...]:
        return tuple(
            Example(" ".join(rng.choice(WORDS, rng.integers(2, 9))), label=n) for n in names for _ in range(count)
        )

    return Episode("e", some(shots), some(queries), tuple(dict.fromkeys(names)))


def rows_of(problem: Language, count: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    rows = np.stack([problem.layout.draw(rng) for _ in range(count)])
    rows += 0.02 * rng.standard_normal(rows.shape)
    rows[:, -1] = np.log(HEAT)
    return rows.astype(np.float32)


def features(problem: Language, row: np.ndarray, examples: tuple[Example, ...]) -> np.ndarray:
    """Features of length 1, one text at a time, by the readout of class means."""
    plain = prototypes(ops, problem.model.base.tokenizer)
    same = language(ops, problem.model, plain)
    found = []
    for example in examples:
        batch = same._ready(plain.ask([example], ("a", "b")) | {})
        batch.pop("order", None)
        found.append(
            ops.numpy(plain.features(problem.model, problem.weights(ops.array(row[None]), {}), batch))[0, 0].astype(
                np.float64
            )
        )
    return np.stack([f / np.linalg.norm(f) for f in found])


def solved(u: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """W (d, N) of weighted ridge regression."""
    return np.linalg.solve(u.T @ (weight[:, None] * u) + STRENGTH * np.eye(u.shape[1]), u.T @ (weight[:, None] * y))


def even(y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Weights (n,) of examples, or of means of so many (n,), with which classes count alike."""
    counts = np.ones(len(y)) if counts is None else counts
    each = y.T @ counts
    return counts * harmonic_mean(each[each > 0]) / (y @ each)


def onehot(examples: tuple[Example, ...], labels: tuple[str, ...]) -> np.ndarray:
    return np.array([[e.label == label for label in labels] for e in examples], float)


@pytest.mark.parametrize("shots", [3, 30])
def test_questions_and_each_left_out_example_are_scored_as_numpy_solves_them(problem: Language, shots: int) -> None:
    """3 a label: the matrix of examples is inverted; 30: that of features (d' = 64 x 2)."""
    one = episode(1, names="abbc", shots=shots if shots == 3 else 50)
    row = rows_of(problem, 1)[0]
    u, y = features(problem, row, one.support), onehot(one.support, one.labels)
    v = even(y)
    asked = features(problem, row, one.query)
    support, query = problem.prepare([one])
    found = ops.numpy(problem.readout.scores(problem.model, problem.weights(ops.array(row[None]), {}), query))[0]
    scored = np.flatnonzero(ops.numpy(query["weights"])[0])
    order = np.argsort([len(problem.readout.encoder.whole(e.text)) for e in (*one.support, *one.query)], kind="stable")
    expected = HEAT * np.concatenate([u, asked]) @ solved(u, y, v)
    assert np.abs(found[scored] - expected[order][scored]).max() < 2e-3
    left = [solved(np.delete(u, i, 0), np.delete(y, i, 0), np.delete(v, i)) for i in range(len(u))]
    alone = HEAT * np.stack([u[i] @ left[i] for i in range(len(u))])
    found = ops.numpy(problem.readout.scores(problem.model, problem.weights(ops.array(row[None]), {}), support))[0]
    order = np.argsort([len(problem.readout.encoder.whole(e.text)) for e in one.support], kind="stable")
    assert np.abs(found - alone[order]).max() < 2e-3
    assert np.abs(alone - HEAT * u @ solved(u, y, v)).max() > 0.05  # leaving out makes a difference


def test_memory_answers_as_the_examples_did_and_earlier_ones_count_as_their_means(problem: Language) -> None:
    one, row = episode(2, names="ab"), rows_of(problem, 1)[0]
    rows, readout = ops.array(row[None]), problem.readout
    support, query = problem.prepare([one])
    kept = readout.memory(problem.model, problem.weights(rows, {}), support)
    state = average(*(ops.numpy(kept[name])[0] for name in ("class_sums", "class_counts")))
    asked = {**problem.questions([one]), **{k: ops.array(v) for k, v in load_class_means(state).items()}}
    whole = ops.numpy(readout.scores(problem.model, problem.weights(rows, {}), query))[0][
        ops.numpy(query["weights"])[0] > 0
    ]
    assert (
        np.abs(ops.numpy(readout.scores(problem.model, problem.weights(rows, {}), asked))[0] - whole).max() < 2e-2
    )  # kept in fp16
    new = episode(3, names="bc")
    later = Episode("l", new.support, new.query, ("a", "b", "c"))
    memory = {k: ops.array(v) for k, v in load_class_means(state, later.labels).items()}
    _, query = problem.prepare([later])
    found = ops.numpy(readout.scores(problem.model, problem.weights(rows, {}), {**query, **memory}))[0]
    old, u = features(problem, row, one.support), features(problem, row, later.support)
    means = np.stack([old[:3].mean(0), old[3:].mean(0)])
    together, targets = np.concatenate([u, means]), np.concatenate([onehot(later.support, later.labels), np.eye(3)[:2]])
    weight = even(targets, np.array([1.0] * 6 + [3.0] * 2))
    scored = np.flatnonzero(ops.numpy(query["weights"])[0])
    texts = (*later.support, *later.query)
    order = np.argsort([len(readout.encoder.whole(e.text)) for e in texts], kind="stable")
    expected = HEAT * features(problem, row, texts)[order] @ solved(together, targets, weight)
    assert np.abs(found[scored] - expected[scored]).max() < 2e-2


def test_examples_remembered_part_by_part_are_the_sums_of_all(problem: Language) -> None:
    """Sums and counts are the same as at once; W stands for earlier parts by their class means."""
    one, row = episode(6, names="ab", shots=4), rows_of(problem, 1)
    examples = tuple(one.support[i] for i in np.random.default_rng(0).permutation(8))
    rows, labels = ops.array(row), one.labels
    whole = problem.summarize(rows, examples, labels, {}, {})
    first = problem.summarize(rows, examples[:5], labels, {}, {})
    both = problem.summarize(rows, examples[5:], labels, first, {})
    wide = whole["class_sums"].shape[-1] // 2
    assert np.abs(whole["class_sums"] - both["class_sums"])[..., :wide].max() < 1e-4
    assert (whole["class_counts"] == both["class_counts"]).all() and both["class_counts"].tolist() == [[4, 4]]
    u, y = features(problem, row[0], examples), onehot(examples, labels)
    held = y[:5].sum(0)
    means = y[:5].T @ u[:5] / np.maximum(held, 1)[:, None]
    targets = np.concatenate([y[5:], np.eye(2)])
    expected = solved(np.concatenate([u[5:], means]), targets, even(targets, np.array([1.0] * 3 + [*held])))
    assert np.abs(both["class_sums"][0, :, wide:] / 4 - expected.T).max() < 2e-3


def test_tasks_of_a_batch_are_answered_as_each_alone_and_a_missing_class_never(problem: Language) -> None:
    tasks = [episode(4), episode(5, names="ab", shots=2)]
    rows = rows_of(problem, 2)
    for part in (0, 1):
        together = ops.numpy(problem.losses(ops.array(rows), problem.prepare(tasks)[part], {}))
        alone = [
            float(ops.numpy(problem.losses(ops.array(row[None]), problem.prepare([one])[part], {}))[0])
            for row, one in zip(rows, tasks, strict=True)
        ]
        assert np.abs(together - alone).max() < 1e-4
    z = ops.numpy(
        problem.readout.scores(problem.model, problem.weights(ops.array(rows), {}), problem.prepare(tasks)[1])
    )
    assert (z[1, :, 2] < -1e8).all() and (z[0] > -1e3).all()


def nats(z: np.ndarray, batch: Any, weights: np.ndarray, change: float) -> float:
    """What a change of one task's log temperature is to make least."""
    p = np.exp(np.exp(change) * (z - z.max(-1, keepdims=True)))
    p = (p / p.sum(-1, keepdims=True) * ops.numpy(batch["onehot"])[0]).sum(-1)
    return float(-(np.log(np.maximum(p, 1e-300)) * weights).sum() + change**2 / (2 * 0.5**2))


@pytest.mark.parametrize("known", [0, 4])
def test_temperatures_are_where_left_out_examples_and_the_pull_to_the_row_s_own_balance(
    problem: Language, known: int
) -> None:
    """Of what is known already, a row's own temperature is that; it becomes the mean over all examples."""
    row = ops.array(rows_of(problem, 1))
    changes = []
    for names, shots in (("abc", 5), ("aab", 2)):
        one = episode(4, names=names, shots=shots)
        batch, share = problem.support([one]), 1.0
        if known:
            kept = problem.summarize(row, episode(7, names=names, shots=known).support, one.labels, {}, {})
            batch |= {name: ops.array(value) for name, value in kept.items()}
            share = shots / (shots + known)
        before = ops.numpy(problem.readout.scores(problem.model, problem.weights(row, {}), batch))[0].astype(np.float64)
        weights, found = (
            ops.numpy(problem.readout.loss_weights(batch))[0],
            ops.numpy(problem.with_temperature(row, batch, {}))[0],
        )
        np.testing.assert_array_equal(found[:-1], ops.numpy(row)[0, :-1])
        changes.append((found[-1] - np.log(HEAT)) / share)
        for away in (-0.5, -0.005, 0.005, 0.5):
            assert nats(before, batch, weights, changes[-1]) < nats(before, batch, weights, changes[-1] + away)
    assert changes[0] < -0.3, "labels say nothing of such texts"


def test_temperatures_of_a_batch_are_those_of_each_alone_and_only_examples_change_none(problem: Language) -> None:
    tasks, rows = [episode(4, shots=5), episode(5, names="aab", shots=1), episode(6, names="ab", shots=1)], 3
    many = rows_of(problem, rows)
    together = ops.numpy(problem.with_temperature(ops.array(many), problem.support(tasks), {}))[:, -1]
    for row, one, found in zip(many, tasks, together, strict=True):
        alone = ops.numpy(problem.with_temperature(ops.array(row[None]), problem.support([one]), {}))[0, -1]
        assert found == pytest.approx(float(alone), abs=5e-3)
    assert abs(together[0] - np.log(HEAT)) > 0.3 and together[2] == pytest.approx(np.log(HEAT), abs=1e-6)


@pytest.mark.parametrize("backend", ["mlx", "torch"])
def test_an_inverse_has_its_derivatives_of_both_orders(backend: str) -> None:
    """d tr(C A^-1) of A + t B:  -tr(C P B P), and 2 tr(C P B P B P)."""
    if backend == "torch":
        pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
    o: Any = engine(backend)
    rng = np.random.default_rng(0)
    u, b, c = (rng.standard_normal((12, 12)) for _ in range(3))
    a, b = u @ u.T + 0.3 * np.eye(12), b + b.T

    def value(t: Any) -> Any:
        return (o.array(c[None]) * o.swap(inverse(o, o.array(a[None]) + t * o.array(b[None])))).sum()

    at, p = o.array(np.zeros(())), np.linalg.inv(a)
    assert float(o.numpy(value(at))) == pytest.approx(np.trace(c @ p), rel=1e-3)
    first = -np.trace(c @ p @ b @ p)
    assert float(o.numpy(o.grad(value, at))) == pytest.approx(first, rel=1e-3)
    second = 2 * np.trace(c @ p @ b @ p @ b @ p)
    assert float(o.numpy(o.grad(lambda t: o.grad(value, t), at))) == pytest.approx(second, rel=1e-2)
