"""The protocols around a language model: its tokenizer and base, adapters, the adapted model, and readouts."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from .engine import Engine
from .layout import Layout, Segment
from .sites import Site
from .types import Array, Batch, Episode, Example, Weights

Settings = Mapping[str, Any]
"""Settings of a builder, by name."""


class Kind(Protocol):
    """The protocol of every kind of every part."""

    verify_with: ClassVar[tuple[Settings, ...]]
    """Settings of small instances that `melpa verify` checks; the first stands beside every other kind."""


class Tokenizer(Protocol):
    """The members of a transformers tokenizer that are used here."""

    bos_token_id: int | None
    eos_token_id: int | None
    chat_template: str | None

    def encode(self, text: str, *, add_special_tokens: bool, verbose: bool) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], /) -> str: ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool = True, add_generation_prompt: bool = False
    ) -> Any: ...


class Encoder(Protocol):
    """A tokenizer with a length limit."""

    first: tuple[int, ...]
    last: tuple[int, ...]
    """The tokens that begin and end a text."""
    pad: int
    """The token that fills up short sequences."""

    def ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, uncut."""

    def whole(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, cut to the limit."""


class Base(Protocol):
    """The members of a base that problems and readouts use; engines implement `backends.base.BaseModel`."""

    name: str
    kind: Literal["causal", "encoder", "encoder-decoder"]
    tokenizer: Any
    width: int
    """The size of a state."""


class Adapter(Kind, Protocol):
    """An adapter of a frozen base: its sites, its weights there, and its effect on their outputs.

    `scaled` in its segments marks the factor to which the update is proportional, where there is one.
    """

    kind: ClassVar[str]
    """Its name in recipes."""
    rank: int | None = None
    """The rank of a low-rank update; None for other adapters."""
    tokens: int = 0
    """Virtual tokens that stand before the text, at the first block's input."""

    @property
    def keys(self) -> int:
        """Keys and values that stand before those of the text, in every attention."""
        return 0

    @abstractmethod
    def choose(self, sites: Sequence[Site]) -> list[Site]:
        """Selects the sites of a base that are adapted; raises ModelError where there are none."""

    @abstractmethod
    def segments(self, site: Site) -> tuple[Segment, ...]:
        """The weights at one site."""

    @abstractmethod
    def apply(self, ops: Engine, weights: Sequence[Array], x: Array, y: Array) -> Array:
        """The adapted output of a site with input x and frozen output y, given its weights, (T, *shape) each.

        At a cache x are keys and y values; the output is both, as a tuple.
        """

    @abstractmethod
    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        """Sizes (inputs, outputs) of the matrix products that each token takes at a site."""


class Model(Protocol):
    """A base with an adapter at its sites."""

    base: Base
    adapter: Adapter
    sites: list[Site]
    layout: Layout
    frozen_blocks: int
    """Blocks below the first adapted one, whose states never change."""

    def hidden(self, weights: Weights, tokens: Array, prefix_states: Array | None = None) -> Array:
        """The last hidden states (T*B, L, d); `prefix_states` is the output of the frozen blocks, if it is known."""

    def logits(self, weights: Weights, tokens: Array, index: Array, prefix_states: Array | None = None) -> Array:
        """The logits (N, V) at flat positions `index` (N,) of T*B*L, float32."""

    def frozen_states(self, tokens: Array) -> tuple[Array, Array]:
        """The outputs (T*B, L, d) of the first and of the last frozen block; there has to be one."""

    def detach(self) -> None:
        """Leaves the base as it was loaded."""


class Readout(Kind, Protocol):
    """From the base's states to losses and predictions; its segments follow the adapter's in a row."""

    ops: Engine
    encoder: Encoder
    classifies: ClassVar[bool]
    """True if it chooses among labels, False if it writes text."""
    metric_episodes: int = 0
    """Training episodes from which meta-training computes shared weights in closed form (`init_metric`); 0 for none."""
    words: str = "own"
    """The names of labels: their own, or letters that mean another label in each task."""
    template: str = ""
    """The text around an example, with {text} in its place; empty where examples are read as they are."""

    def segments(self, width: int, frozen: bool) -> tuple[Segment, ...]:
        """Its own weights, for states of a width; `frozen` is True if the first block is."""
        return ()

    @abstractmethod
    def support(self, episodes: Sequence[Episode]) -> Batch:
        """Encodes the support sets of T episodes as NumPy arrays."""

    @abstractmethod
    def query(self, episodes: Sequence[Episode]) -> Batch:
        """Encodes the query sets of T episodes as NumPy arrays."""

    @abstractmethod
    def ask(self, examples: Sequence[Example], labels: tuple[str, ...]) -> Batch:
        """Encodes one user's examples without a support set."""

    def losses(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Per-task losses (T,), nats: the mean cross-entropy of the labels, if it classifies."""
        z, counted = self.scores(model, weights, batch), self.loss_weights(batch)
        likely = (z * batch["onehot"]).sum(-1).reshape(*z.shape[:2], 1)
        each = (self.ops.log_sum_exp(z) - likely).reshape(*z.shape[:2])
        return (each * counted).sum(-1) / self.ops.maximum(counted.sum(-1), 1)

    def scores(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Logits (T, B, N) of the labels, if it classifies."""
        raise TypeError("this readout has no labels")

    def entropies(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Mean entropies (T,) of the next token, nats, if it writes."""
        raise TypeError("this readout writes nothing")

    def class_means(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """The mean feature (T, ways, d') of each label's support examples, if it has a linear head."""
        raise TypeError("this readout has no linear head")

    def loss_weights(self, batch: Batch) -> Array:
        """Weights (T, B) of the examples in the loss."""
        return batch["weights"]

    def memory(self, model: Model, weights: Weights, batch: Batch) -> Batch:
        """The entries that later query batches need of the support set; {} if they need the row alone."""
        return {}

    def temperature_change(self, model: Model, weights: Weights, batch: Batch) -> np.ndarray:
        """Changes (T,) of the log temperatures that fit a support batch."""
        return np.zeros(batch["weights"].shape[0], np.float32)

    def init_metric(self, model: Model, weights: Weights, batches: Iterable[Batch]) -> Mapping[str, np.ndarray]:
        """Shared weights in closed form from training episodes, by name."""
        return {}

    def lacks(self, base: Base) -> str:
        """The reason why it can't read from this base, with the remedy; empty if it can."""
        return ""
