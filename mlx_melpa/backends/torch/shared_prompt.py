"""The base of an adapted model, whatever weights are given; MLX's also reads once what many texts begin with."""

import torch

from ...core.types import Weights
from .adapted import Adapted


class SharedPrompt:
    """Logits of the base alone: no prompt or prefix of a row stands before the text."""

    frozen_blocks = 0

    def __init__(self, adapted: Adapted):
        self.base, self.layout = adapted.base, adapted.layout

    def logits(
        self, weights: Weights, tokens: torch.Tensor, index: torch.Tensor, prefix_states: None = None
    ) -> torch.Tensor:
        """The logits (N, V) at flat positions `index` (N,) of tokens (R, L), float32."""
        return self.base.logits(tokens, index)
