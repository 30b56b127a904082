"""Curves are the papers'."""

import numpy as np
import pytest

from mlx_melpa.tasks.sinusoid import sinusoid


def test_points_lie_on_one_sine_curve() -> None:
    episode = sinusoid(shots=5, queries=10).train.episode(np.random.default_rng(0))
    assert [a.shape for a in (episode.x_support, episode.y_support, episode.x_query, episode.y_query)] == [
        (5, 1),
        (5, 1),
        (10, 1),
        (10, 1),
    ]
    assert all(a.dtype == np.float32 for a in vars(episode).values())
    basis = np.hstack([np.sin(episode.x_support), np.cos(episode.x_support)])
    weights, *_ = np.linalg.lstsq(basis, episode.y_support, rcond=None)
    expected = np.hstack([np.sin(episode.x_query), np.cos(episode.x_query)]) @ weights
    np.testing.assert_allclose(episode.y_query, expected, atol=1e-5)


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_the_distribution_is_the_papers(spread: float) -> None:
    tasks = sinusoid(shots=5, queries=95, spread=spread).test
    curves = [tasks.episode(np.random.default_rng(seed)) for seed in range(1000)]
    x = np.stack([c.x_query for c in curves])
    peaks = np.array([np.abs(c.y_query).max() for c in curves])
    assert abs(x.mean()) < 0.05 and abs(x.std() - 10 / np.sqrt(12)) < 0.02
    assert 0.09 < peaks.min() < 0.2 and 4.9 < peaks.max() <= 5.0 and abs(peaks.mean() - 2.55) < 0.15
