"""A language model of one layer of tanh, under a linear head: what difference quotients see of labelled tasks."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from mlx_melpa.config.kinds import kinds
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.core.types import Array, Episode, Example, Weights
from mlx_melpa.problems.language import Language, language
from mlx_melpa.readouts.prototypes import FeatureSettings
from mlx_melpa.verification.toys import ALPHABET, WIDTH, Letters

LETTERS = len(ALPHABET)


class Model:
    """h = tanh(vector(letter) W), with W (d, d) the adapter."""

    layout = Layout([Segment("0.weight", (WIDTH, WIDTH), 0.5)])
    base = SimpleNamespace(width=WIDTH)
    frozen_blocks = 0

    def __init__(self, ops: Any, rng: np.random.Generator):
        self.ops, self.vectors = ops, ops.array(rng.standard_normal((1 + LETTERS, WIDTH)))

    def hidden(self, weights: Weights, tokens: Array, prefix_states: Array | None = None) -> Array:
        """States (T*B, L, d) of tokens (T*B, L)."""
        states = self.ops.take(self.vectors, tokens, 0)
        weight = weights["0.weight"]
        return self.ops.tanh(states.reshape(weight.shape[0], -1, WIDTH) @ weight).reshape(*states.shape)


def words(ops: Any, seed: int = 0, ways: int = 3) -> tuple[Language, list[Episode]]:
    """The problem, and two tasks of words whose label says which letters they prefer; the second has a label less."""
    rng = np.random.default_rng([seed, 3])
    readout = kinds("readout")["linear"](
        ops, Letters(), ways=ways, features=FeatureSettings(temperature=4.0, metric="plain")
    )
    return language(ops, Model(ops, rng), readout), [_task(rng, ways), _task(rng, ways - 1)]


def _task(rng: np.random.Generator, ways: int) -> Episode:
    likes, labels = rng.dirichlet(np.full(LETTERS, 0.5), ways), tuple("abc"[:ways])

    def drawn(label: int) -> Example:
        letters = rng.choice(LETTERS, rng.integers(2, 5), p=likes[label])
        return Example("".join(ALPHABET[letter] for letter in letters), label=labels[label])

    support, query = (tuple(drawn(c) for c in range(ways) for _ in range(2)) for _ in range(2))
    return Episode("words", support, query, labels)
