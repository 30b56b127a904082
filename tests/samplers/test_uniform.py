"""Draws depend on seed, iteration and place alone."""

import numpy as np

from mlx_melpa.samplers import KINDS
from mlx_melpa.samplers.uniform import uniform


class Numbers:
    size = None

    def episode(self, rng: np.random.Generator) -> int:
        return int(rng.integers(1 << 62))


def test_who_draws_how_many_changes_nothing() -> None:
    sampler = uniform()
    four = sampler.next(Numbers(), 0, 7, 4)
    assert sampler.next(Numbers(), 0, 7, 2) == four[:2]
    assert len({*four, *sampler.next(Numbers(), 0, 8, 4), *sampler.next(Numbers(), 1, 7, 4)}) == 12
    assert four[0] == int(np.random.default_rng([0, 7, 0]).integers(1 << 62))
    assert KINDS["uniform"] is uniform
