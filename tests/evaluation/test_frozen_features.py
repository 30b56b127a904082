"""Classifiers on frozen features: what they compute, and that tuning finds settings which separate classes."""

import numpy as np
import pytest

from mlx_melpa.core.types import Episode, Example
from mlx_melpa.evaluation.baselines import frozen_features as frozen
from mlx_melpa.evaluation.methods import METHODS


def clouds(
    seed: int, ways: int = 3, shots: int = 4, spread: float = 0.3
) -> tuple[Episode, frozen.Features, np.ndarray]:
    """Classes around centers that share a large common vector, which hides them from plain cosines."""
    rng = np.random.default_rng(seed)
    common, centers = 20 * np.ones(8), rng.standard_normal((ways, 8))
    known, parts = {}, []
    for part in range(2):
        parts.append([Example(f"{part}/{c}/{i}", label=str(c)) for c in range(ways) for i in range(shots)])
        for e in parts[-1]:
            known[e.text] = common + centers[int(e.label or 0)] + spread * rng.standard_normal(8)
    return Episode("clouds", tuple(parts[0]), tuple(parts[1]), tuple(map(str, range(ways)))), known, common


def test_prototypes_on_features_are_cosines_to_class_means() -> None:
    support, query = np.array([[1.0, 0], [1, 0.2], [0, 2]]), np.array([[0.0, 1], [3, 0]])
    task = frozen.FeatureTask(support, np.array([0, 0, 1]), query, np.array([1, 0]), 2, np.zeros(2))
    found = frozen.prototypes(task, center="none", temperature=5.0)
    means = np.array([[1.0, 0.1], [0, 2]])
    cosines = query @ means.T / np.outer(np.linalg.norm(query, axis=1), np.linalg.norm(means, axis=1))
    wanted = np.exp(5 * cosines)
    np.testing.assert_allclose(found, wanted / wanted.sum(1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("name", frozen.CLASSIFIERS)
def test_tuning_finds_settings_that_separate_the_classes(name: str) -> None:
    drawn, known = [], {}
    for seed in range(6):
        one, features, middle = clouds(seed)
        rename = {text: f"{seed}:{text}" for text in features}
        known |= {rename[text]: value for text, value in features.items()}
        sides = [tuple(Example(rename[e.text], label=e.label) for e in s) for s in (one.support, one.query)]
        drawn.append(Episode(str(seed), *sides, one.labels))
    tasks = [frozen.FeatureTask.of(episode, known, middle) for episode in drawn]
    chosen = frozen.tune(name, tasks)
    assert set(chosen) == set(frozen.GRIDS[name])
    best = frozen.measure(name, chosen, tasks)
    assert best["accuracy"].mean() > 0.95
    if name != "logistic_regression":
        assert chosen["center"] != "none"
    other = {key: values[0] for key, values in frozen.GRIDS[name].items()}
    assert best["accuracy"].mean() >= frozen.measure(name, other, tasks)["accuracy"].mean()


def test_a_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_melpa.evaluation.methods.find_spec", lambda name: None)
    assert "pip install 'mlx-melpa[baselines]'" in METHODS["logistic_regression"].lacks_package()
    assert METHODS["prototypes"].lacks_package() == ""
