"""A linear head on the adapted features: the weights of a user's labels are numbers of their row.

g = exp(s / 2) u(f), with f the features of `prototypes` and u scaling to length 1;  score(i, c) = g_i . w_c + b_c.
A row holds `ways` weights w (d') and biases b, a user's own, then what `prototypes` has. All begin at 0, where every
label is as likely as another. Initializer `proto_head` writes w_c = 2 mu_c, b_c = -|mu_c|^2: the nearest class mean
wins. The row alone is stored.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from ..core.bases import Model, Tokenizer
from ..core.bounds import Bounds
from ..core.engine import Engine
from ..core.layout import Segment
from ..core.types import SCALE, Array, Batch, Episode, Example, Weights
from ..errors import DataError, RecipeError
from .prototypes import TINY, FeatureSettings, Prototypes, column

WEIGHT, BIAS = "readout.weight", "readout.bias"


class Linear(Prototypes):
    """Cross-entropy over the scores; a label's place among the task's labels is its place among the weights."""

    verify_with = ({"temperature": 4.0, "ways": 3},)

    def __init__(self, ops: Engine, tokenizer: Tokenizer, ways: int, settings: FeatureSettings):
        super().__init__(ops, tokenizer, settings)
        self.ways = ways

    def segments(self, width: int, frozen: bool) -> tuple[Segment, ...]:
        """ways (d' + 1) numbers, then those of the features."""
        head = (Segment(WEIGHT, (self.ways, width * (1 + frozen))), Segment(BIAS, (self.ways,)))
        return (*head, *super().segments(width, frozen))

    def query(self, episodes: Sequence[Episode]) -> Batch:
        """The query sets of T episodes, without their support sets: the row has the head."""
        return self._batch([[(e, False, True) for e in ep.query] for ep in episodes], episodes)

    def temperature_change(self, model: Model, weights: Weights, batch: Batch) -> np.ndarray:
        """No change: the head was trained on these examples, so that leave-one-out does not apply."""
        return np.zeros(batch["weights"].shape[0], np.float32)

    def memory(self, model: Model, weights: Weights, batch: Batch) -> Batch:
        """Nothing: the row has the head."""
        return {}

    def _batch(self, marked: list[list[tuple[Example, bool, bool]]], episodes: Sequence[Episode]) -> Batch:
        """The arrays of `prototypes`, and label_mask (T, N): 1 for labels that a task has."""
        most = max(len(ep.labels) for ep in episodes)
        if most > self.ways:
            raise DataError(
                f"{most} labels are more than the {self.ways} that this run's linear readout has weights for; give "
                f"fewer, or meta-train with readout.ways: {most}"
            )
        mask = np.array([np.arange(most) < len(ep.labels) for ep in episodes], np.float32)
        return {**super()._batch(marked, episodes), "label_mask": mask}

    def scaled(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Features g (T, B, d') of length exp(s / 2)."""
        f = self.features(model, weights, batch)
        length = self.ops.sqrt(column((f * f).sum(-1)) + TINY)
        return self.ops.exp(0.5 * weights[SCALE]).reshape(-1, 1, 1) * f / length

    def class_means(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """The means mu (T, ways, d') of each label's support examples; 0 where there are none."""
        sums, counts, _ = self.sums(self.scaled(model, weights, batch), batch)
        tasks, ways, wide = sums.shape
        found = sums / column(self.ops.maximum(counts, 1))
        return self.ops.concatenate([found, self.ops.zeros((tasks, self.ways - ways, wide))], 1)

    def scores(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Logits (T, B, N); -1e9 for labels that a task lacks."""
        mask, g = batch["label_mask"], self.scaled(model, weights, batch)
        tasks, ways = mask.shape
        weight = self.ops.split(weights[WEIGHT], [ways], 1)[0]
        bias = self.ops.split(weights[BIAS], [ways], 1)[0]
        return g @ self.ops.swap(weight) + (bias + (mask - 1) * 1e9).reshape(tasks, 1, ways)

    def loss_weights(self, batch: Batch) -> Array:
        """Weights (T, B) of scored examples: the row has the head, so that none is left out."""
        return batch["weights"]


def linear(
    ops: Engine,
    tokenizer: Tokenizer,
    *,
    ways: Annotated[int, Bounds(2)] | None = None,
    features: FeatureSettings = FeatureSettings(),  # noqa: B008 (frozen)
) -> Linear:
    """Builds the head for at most `ways` labels, as many as tasks.ways unless given.

    Raises RecipeError where nothing says how many labels there are.

    Use it when the method at hand is a classifier that steps train: Proto-MAML (initializer `proto_head`), ANIL, LwF.
    Not when users have different numbers of labels, or add labels later: take `ridge` or `prototypes`.

    ways: the largest number of labels; tasks.ways by default.
    """
    if ways is None:
        raise RecipeError("readout linear needs to know how many labels there may be; set readout.ways")
    return Linear(ops, tokenizer, ways, features)
