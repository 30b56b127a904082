"""The protocols: what each kind of part has to answer.

A kind inherits from its protocol. Members that not every kind needs have a default here, which does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from .engine import Engine
from .layout import Layout, Segment
from .sites import Site
from .types import Array, Batch, Episode, Example, Tasks, Tree

Settings = Mapping[str, Any]
"""Settings of a builder, by name."""


class Kind(Protocol):
    """What every kind of a part says of itself."""

    verify_with: ClassVar[tuple[Settings, ...]]
    """Settings of small instances that `melpa verify` checks; the first stands beside every other kind."""


class Adapter(Kind, Protocol):
    """What is added to a frozen base: where it sits, which weights it has there, and how it acts.

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

    def choose(self, sites: Sequence[Site]) -> list[Site]:
        """Selects the sites of a base that are adapted; raises ModelError where there are none."""
        ...

    def segments(self, site: Site) -> tuple[Segment, ...]:
        """The weights at one site."""
        ...

    def apply(self, ops: Engine, weights: Sequence[Array], x: Array, y: Array) -> Any:
        """The adapted output of a site with input x and frozen output y, given its weights, (T, *shape) each."""
        ...

    def products(self, site: Site) -> tuple[tuple[int, int], ...]:
        """Sizes (inputs, outputs) of the matrix products that each token takes at a site."""
        ...


class Readout(Kind, Protocol):
    """From the base's states to losses and answers; its segments follow the adapter's in a row."""

    classifies: ClassVar[bool]
    """True if it chooses among labels, False if it writes text."""
    metric_episodes: int = 0
    """Training episodes from which meta-training computes a start in closed form (`prime`); 0 for none."""
    words: str = "own"
    """What labels are called: by their own names, or by letters that mean another label in each task."""
    template: str = ""
    """What stands around a text, with {text} in its place; empty where texts are read as they are."""

    def segments(self, width: int, frozen: bool) -> tuple[Segment, ...]:
        """Its own weights, for states of a width; `frozen` is True if the first block is."""
        ...

    def support(self, episodes: Sequence[Episode]) -> Batch:
        """Encodes the support sets of T episodes as NumPy arrays."""
        ...

    def query(self, episodes: Sequence[Episode]) -> Batch:
        """Encodes the query sets of T episodes as NumPy arrays."""
        ...

    def ask(self, examples: Sequence[Example], labels: tuple[str, ...]) -> Batch:
        """Encodes one user's examples, to be answered without a support set."""
        ...

    def lacks(self, base: Any) -> str:
        """Why it can't read from this base, with the remedy; empty if it can."""
        return ""


class Problem(Protocol):
    """What is to be learned: from episodes to per-task losses.

    `layout` is that of a row (T, P): a person's own numbers, or the code that stands for them. `acting_layout` is that
    of all weights in use. Where a method takes `shared` it is theta["problem"]: what every person shares.
    """

    layout: Layout
    acting_layout: Layout

    def init(self, rng: np.random.Generator) -> tuple[np.ndarray, Tree]:
        """Draws a random start: a row (P,), and theta["problem"]."""

    def prepare(self, episodes: Sequence[Any]) -> tuple[Batch, Batch]:
        """Encodes T episodes as (support, query) batches of the engine's arrays."""

    def support(self, episodes: Sequence[Any]) -> Batch:
        """Encodes the support sets of T episodes."""

    def query(self, episodes: Sequence[Any]) -> Batch:
        """Encodes the query sets of T episodes."""

    def questions(self, episodes: Sequence[Any]) -> Batch:
        """Encodes the query sets of T episodes, to be answered with what `memory` kept of their supports."""

    def acting(self, rows: Array, shared: Tree) -> Array:
        """All weights in use (T, size of acting_layout): the rows' own, decoded if they are codes, and the shared."""

    def memory(self, rows: Array, support: Batch, shared: Tree) -> Batch:
        """What answers later without the support, to stand in a batch of questions; {} where the row alone does."""

    def losses(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Per-task losses (T,) of rows (T, P)."""

    def entropies(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Per-task entropies (T,) of the answers, nats; the losses where answers are numbers, which have none."""

    def predict(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Scores of the batch's examples under rows."""

    def drift(self, rows: Array, before: Array, batch: Batch, shared: Tree) -> Array:
        """Change of the answers to a batch (T,) since the rows before: KL in nats, or mean squares."""

    def measure(self, rows: Array, batch: Batch, shared: Tree) -> Mapping[str, np.ndarray]:
        """Per-task measures, each (T,): 'loss' and the problem's own ('accuracy', 'bits_per_byte')."""


class Decoder(Protocol):
    """Makes a person's numbers (T, own) from codes (T, size); its parameters are part of theta["problem"]."""

    size: int

    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """Its parameters at a random start (own,)."""
        ...

    def decode(self, shared: Tree, codes: Array) -> Array:
        """The numbers (T, own) of codes (T, size), given theta["problem"]."""
        ...


class Initializer(Protocol):
    """Makes rows from its own parameters and, maybe, the support set."""

    closed: bool = False
    """True if a part of the row is a closed form of the support set, which a random start has too."""
    latent: bool = False
    """True if rows are codes: a learner has to train theta["problem"], which holds the decoder."""
    decoder: Decoder | None = None
    """None where rows are a person's own numbers; else rows are codes for it."""

    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """Its parameters at a random start (P,)."""
        ...

    def make(self, theta: Tree, support: Batch, tasks: int) -> Array:
        """The rows (T, P) of tasks; `support` is {} where there is none."""
        ...


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

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]:
        """The k-th step of rows along gradients (T, P): the new rows and state."""
        ...


Score = Callable[[Sequence[Any], str], np.ndarray]
"""How hard episodes are (n,), by "entropy" or by "loss", at the theta of the moment."""


class Sampler(Protocol):
    """Which episodes an iteration sees. Draws depend on (seed, iteration, place), and on what `score` says.

    `progress` is how far meta-training is, from 0 to 1. Without a score every task is equally likely.
    """

    def next(
        self, tasks: Tasks, seed: int, iteration: int, count: int, score: Score | None = None, progress: float = 0.0
    ) -> list[Any]:
        """Draws the iteration's `count` episodes."""
        ...


Drift = Callable[[Array], Array]
"""How far the answers to the support have moved (T,) since a row's own numbers were those given (T, own)."""


class Regularizer(Kind, Protocol):
    """What keeps a row's own numbers (T, P) near what they were, and its state from task to task."""

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

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array:
        """The penalty (T,) that is added to the inner loss."""
        ...

    def end(self, meta: Tree, carry: Tree, rows: Array, squares: Callable[[], Array]) -> Tree:
        """What it leaves to the next task.

        `squares()` computes the mean over the task's examples of each one's squared gradient (T, P).
        """
        return {}

    def lacks(self, readout: "Readout | None") -> str:
        """Why it can't work with this readout, with the remedy; empty if it can."""
        return ""


class Learner(Protocol):
    """A way to the gradient of the query loss over theta."""

    trains: frozenset[str] = frozenset({"initializer", "problem", "rule", "regularizer"})
    """The parts of theta that it can train."""
    streams: bool = False
    """True if support and query may be tuples, one batch for each place of T streams."""
    steps: int

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,), and the gradient of their sum over theta."""
        ...

    def at(self, progress: float) -> "Learner":
        """The learner as it is at a share of meta-training, 0 at the first iteration and 1 at the last."""
        return self

    def numbers(self) -> Mapping[str, float]:
        """Numbers about its passes since the last call, for a run's metrics."""
        return {}

    @staticmethod
    def hold(layout: Layout, settings: Settings) -> Layout:
        """The layout with the weights that the inner steps of these settings don't update marked as shared."""
        return layout

    @staticmethod
    def lacks(regularizer: Settings) -> str:
        """Why it can't learn with a regularizer of these settings, with the remedy; empty if it can."""
        return ""


@dataclass(frozen=True)
class Parts:
    """What adapts: the engine's operations, the problem, and how rows start, move and are held."""

    ops: Engine
    problem: Problem
    initializer: Initializer
    rule: Rule
    regularizer: Regularizer
