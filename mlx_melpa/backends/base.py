"""A base model, as far as it is the same for every engine."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..core.sites import Site
from ..core.types import Array
from . import fingerprint
from .checkpoints import Config

ATTENTION = ("self_attn", "attn", "attention", "linear_attn", "mixer", "temporal_block", "conv")
FEED_FORWARD = ("mlp", "feed_forward", "block_sparse_moe", "ffn", "mlp_block")
"""The names of a block's sub-blocks, whose output is added to the residual stream."""

Kind = Literal["causal", "encoder", "encoder-decoder"]


@dataclass
class BaseModel(ABC):
    """A frozen model with its tokenizer.

    `family` identifies configuration, tokenizer and shapes; `weights` the numbers. A quantized or converted copy is of
    the same family with other weights. `config` is the folder's config.json, `width` the size of a hidden state;
    `head` is False for an encoder that gives hidden states only; `adapted` is True while it carries an adapter.
    """

    name: str
    model: Any
    tokenizer: Any
    config: Config
    kind: Kind = "causal"
    width: int = 0
    folder: Path | None = None
    head: bool = True
    adapted: bool = False

    @cached_property
    def family(self) -> str:
        """A fingerprint of configuration and tokenizer, 16 hex digits; the same on every engine."""
        return fingerprint.family(self.config, self.tokenizer.get_vocab())

    @cached_property
    def weights(self) -> str:
        """A fingerprint of the weight files, or of the numbers where there are none; 16 hex digits."""
        return fingerprint.weights(self.folder) or self._hash()

    @property
    @abstractmethod
    def blocks(self) -> list[Any]:
        """The model's blocks, an encoder's before its decoder's."""

    @property
    @abstractmethod
    def sites(self) -> list[Site]:
        """The input, every linear layer and sub-block in the model's order, then each block's keys and values."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """The number of weights."""

    @abstractmethod
    def hidden(self, tokens: Array) -> Array:
        """The last hidden states (R, L, d) of tokens (R, L), before the head."""

    @abstractmethod
    def logits(self, tokens: Array, index: Array) -> Array:
        """The logits (N, V) of tokens (R, L) at flat positions `index` (N,) of R*L, float32."""

    @abstractmethod
    def _hash(self) -> str:
        """A fingerprint of the numbers."""
