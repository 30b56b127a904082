"""The protocols of the kinds of each part.

A kind inherits from its protocol. Members that not every kind needs have a default here, which does nothing.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

from .bases import Kind, Readout, Settings
from .decoder import Decoder
from .engine import Engine
from .layout import Layout
from .types import AnyEpisode, Array, Batch, Tasks, Tree


class Problem(Protocol):
    """A problem: from episodes to per-task losses.

    `layout` is that of a row (T, P): a user's own numbers, or the code that stands for them. `acting_layout` is that
    of all weights in use. Where a method takes `shared` it is theta["problem"]: what all users share.
    """

    needs_model: ClassVar[bool] = False
    """True if it is built over a language model with an adapter and a readout; else it has a network of its own."""
    layout: Layout
    acting_layout: Layout

    @abstractmethod
    def with_layout(self, acting_layout: Layout) -> Self:
        """The same problem with other weights marked as shared."""

    @abstractmethod
    def with_decoder(self, decoder: "Decoder | None") -> Self:
        """The same problem with rows that are codes."""

    @abstractmethod
    def init(self, rng: np.random.Generator) -> tuple[np.ndarray, Tree]:
        """Draws a random start: a row (P,), and theta["problem"]."""

    @abstractmethod
    def encode(self, context: str = "support") -> int:
        """Adds a task encoder's inputs, `context` and `present`, to support batches; returns their width."""

    @abstractmethod
    def prepare(self, episodes: Sequence[AnyEpisode]) -> tuple[Batch, Batch]:
        """Encodes T episodes as (support, query) batches of the engine's arrays."""

    @abstractmethod
    def support(self, episodes: Sequence[AnyEpisode]) -> Batch:
        """Encodes the support sets of T episodes."""

    @abstractmethod
    def query(self, episodes: Sequence[AnyEpisode]) -> Batch:
        """Encodes the query sets of T episodes."""

    @abstractmethod
    def questions(self, episodes: Sequence[AnyEpisode]) -> Batch:
        """Encodes the query sets of T episodes without their support sets; `memory` takes the place of these."""

    @abstractmethod
    def acting(self, rows: Array, shared: Tree) -> Array:
        """All weights in use (T, size of acting_layout): the rows' own, decoded if they are codes, and the shared."""

    @abstractmethod
    def memory(self, rows: Array, support: Batch, shared: Tree) -> Batch:
        """The entries that later query batches need of the support set; {} if they need the row alone."""

    @abstractmethod
    def losses(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Per-task losses (T,) of rows (T, P)."""

    @abstractmethod
    def entropies(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Per-task entropies (T,) of the predictions, nats; the losses if these are numbers, which have none."""

    @abstractmethod
    def predict(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Scores of the batch's examples under rows."""

    @abstractmethod
    def drift(self, rows: Array, before: Array, batch: Batch, shared: Tree) -> Array:
        """Change of the predictions for a batch (T,) since the rows before: KL in nats, or mean squares."""

    @abstractmethod
    def measure(self, rows: Array, batch: Batch, shared: Tree) -> Mapping[str, np.ndarray]:
        """Per-task measures, each (T,): 'loss' and the problem's own ('accuracy', 'bits_per_byte')."""

    def class_means(self, rows: Array, support: Batch, shared: Tree) -> Array:
        """The mean feature (T, ways, d') of each label's support examples, if it has a linear head."""
        raise TypeError("this problem has no linear head")


class Initializer(Kind, Protocol):
    """Makes rows from its own parameters and, maybe, the support set."""

    closed: bool = False
    """True if a part of the row is a closed form of the support set, which a random start has too."""
    latent: bool = False
    """True if rows are codes: a learner has to train theta["problem"], which holds the decoder."""
    decoder: Decoder | None = None
    """None where rows are a user's own numbers; else rows are codes for it."""

    @abstractmethod
    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """Its parameters at a random start (P,)."""

    @abstractmethod
    def make(self, theta: Tree, support: Batch, tasks: int) -> Array:
        """The rows (T, P) of tasks; `support` is {} where there is none."""


class Rule(Kind, Protocol):
    """The update rule U: arithmetic on rows (T, P)."""

    learnable: bool = False
    """True if meta-training learns parameters of it."""

    def init(self, layout: Layout) -> Tree:
        """Its parameters at the start of meta-training."""
        return {}

    def begin(self, rows: Array) -> Tree:
        """Its state before the first step."""
        return {}

    @abstractmethod
    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """The k-th step of rows along gradients (T, P): the new rows and state."""


Score = Callable[[Sequence[AnyEpisode], str], np.ndarray]
"""The difficulty of episodes (n,), by "entropy" or "loss", at the current theta."""


class Sampler(Protocol):
    """Draws the episodes of an iteration. Draws depend on (seed, iteration, place), and on `score`.

    `progress` is how far meta-training is, from 0 to 1. Without a score every task is equally likely.
    """

    @abstractmethod
    def next(
        self, tasks: Tasks, seed: int, iteration: int, count: int, score: Score | None = None, progress: float = 0.0
    ) -> list[AnyEpisode]:
        """Draws the iteration's `count` episodes."""


Drift = Callable[[Array], Array]
"""Change (T,) of the predictions for the support since a row's own numbers were those given (T, own)."""


class Regularizer(Kind, Protocol):
    """A penalty that keeps a row's own numbers (T, P) near earlier ones, and its state from task to task."""

    learnable: bool = False
    """True if meta-training learns parameters of it."""
    carries: bool = False
    """True if a task leaves a state to the next one."""
    holds: bool = False
    """True if every number is pulled to its start, so that the inner problem has one solution."""

    def init(self, layout: Layout) -> Tree:
        """Its parameters at the start of meta-training."""
        return {}

    def begin(self, rows: Array, carried: Tree) -> Tree:
        """Its state during a task that starts at rows, given what the task before left ({} at the first)."""
        return {"start": rows}

    @abstractmethod
    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """The penalty (T,) that is added to the inner loss."""

    def end(self, meta: Tree, carry: Tree, rows: Array, squares: Callable[[], Array]) -> Tree:
        """The state for the next task.

        `squares()` computes the mean over the task's examples of each one's squared gradient (T, P).
        """
        return {}

    def lacks(self, readout: Readout | None) -> str:
        """The reason why it can't work with this readout, with the remedy; empty if it can."""
        return ""


class Learner(Kind, Protocol):
    """Computes the meta-gradient: the derivative of the query loss over theta."""

    trains: frozenset[str] = frozenset({"initializer", "problem", "rule", "regularizer"})
    """The parts of theta that it can train."""
    exact_gradient: ClassVar[bool] = False
    """True if the meta-gradient is that of the outer loss, so that finite differences apply."""
    precision: ClassVar[float] = 1e-5
    """The largest relative error of `meta_grad` beside the derivative of `definition`."""
    streams: bool = False
    """True if support and query may be tuples, one batch for each place of T streams."""
    steps: int

    @abstractmethod
    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,), and the gradient of their sum over theta."""

    @abstractmethod
    def definition(self, theta: Tree, support: Batch, query: Batch) -> Callable[[Tree], Array]:
        """A plain function of theta to (T,), whose derivative is the meta-gradient by definition.

        What it holds constant is held at `theta`. Where `exact_gradient`, it is the outer loss itself. Its memory grows
        with the steps: it serves verification alone.
        """

    def at(self, progress: float) -> "Learner":
        """The learner as it is at a share of meta-training, 0 at the first iteration and 1 at the last."""
        return self

    def numbers(self) -> Mapping[str, float]:
        """Numbers about its passes since the last call, for a run's metrics."""
        return {}

    @staticmethod
    def freeze(layout: Layout, settings: Settings) -> Layout:
        """The layout with the weights that the inner steps of these settings don't update marked as shared."""
        return layout

    @staticmethod
    def lacks(regularizer: type[Regularizer], settings: Settings) -> str:
        """The reason why it can't learn with a kind of regularizer, with the remedy; empty if it can."""
        return ""


@dataclass(frozen=True)
class Components:
    """The parts of an adaptation: the engine's operations, problem, initializer, rule and regularizer."""

    ops: Engine
    problem: Problem
    initializer: Initializer
    rule: Rule
    regularizer: Regularizer
