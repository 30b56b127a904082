"""What each kind of part offers: the protocols. No behaviour."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .layout import Layout
from .types import Array, Batch, Tasks, Tree


class Problem(Protocol):
    """What is to be learned: from episodes to per-task losses."""

    layout: Layout

    def prepare(self, episodes: Sequence[Any]) -> tuple[Batch, Batch]:
        """Encodes T episodes as (support, query) batches of the engine's arrays."""

    def support(self, episodes: Sequence[Any]) -> Batch:
        """What T episodes learn from, alone."""

    def query(self, episodes: Sequence[Any]) -> Batch:
        """What T episodes are judged on, alone."""

    def questions(self, episodes: Sequence[Any]) -> Batch:
        """What T episodes are judged on, to be answered by what `memory` kept of their supports."""

    def memory(self, rows: Array, support: Batch) -> Batch:
        """What answers later without the support, to stand in a batch of questions; {} where the row alone does."""

    def losses(self, rows: Array, batch: Batch) -> Array:
        """Per-task losses (T,) of rows (T, P)."""

    def entropies(self, rows: Array, batch: Batch) -> Array:
        """How unsure the problem's answers are (T,), nats; the losses where answers are numbers, which have none."""

    def predict(self, rows: Array, batch: Batch) -> Array:
        """Scores of the batch's examples under rows."""

    def drift(self, rows: Array, before: Array, batch: Batch) -> Array:
        """How far the answers to a batch are (T,) from those of the rows before: KL in nats, or mean squares."""

    def measure(self, rows: Array, batch: Batch) -> Mapping[str, np.ndarray]:
        """Per-task numbers for people, each (T,): 'loss' and the problem's own ('accuracy', 'bits_per_byte')."""


class Initializer(Protocol):
    """Makes rows from its own parameters and, maybe, the support set.

    `code` is 0 where steps move the rows' own numbers. Else they move codes of so many numbers, the rows' last ones,
    and the initializer is a Decoder.
    """

    code: int

    def init(self, rng: np.random.Generator, layout: Layout) -> Tree: ...

    def at(self, row: np.ndarray) -> Tree: ...

    def make(self, meta: Tree, support: Batch, tasks: int) -> Array: ...


class Decoder(Initializer, Protocol):
    """Makes rows (T, P) from codes (T, code) too."""

    def decode(self, meta: Tree, codes: Array) -> Array: ...


class Rule(Protocol):
    """The update rule U: arithmetic on rows (T, P)."""

    learnable: bool

    def init(self, layout: Layout) -> Tree: ...

    def begin(self, rows: Array) -> Tree: ...

    def step(self, meta: Tree, k: int, rows: Array, grads: Array, memory: Tree) -> tuple[Array, Tree]: ...


Score = Callable[[Sequence[Any], str], np.ndarray]
"""How hard episodes are (n,), by "entropy" or by "loss", at the theta of the moment."""


class Sampler(Protocol):
    """Which episodes an iteration sees. Draws depend on (seed, iteration, place), and on what `score` says.

    `progress` is how far meta-training is, from 0 to 1. Without a score every task is equally likely.
    """

    def next(
        self, tasks: Tasks, seed: int, iteration: int, count: int, score: Score | None = None, progress: float = 0.0
    ) -> list[Any]: ...


Drift = Callable[[Array], Array]
"""How far the answers to the support have moved (T,) since a row's own numbers were those given (T, own)."""


class Regularizer(Protocol):
    """What keeps a row's own numbers (T, P) near what they were, and what it carries from task to task.

    A task begins with what was `carried` from the one before ({} at the first), and ends with what the next one gets.
    `squares()` computes the mean over the task's examples of each one's squared gradient (T, P), if it is asked for.
    `carries` says that there is something to carry, `holds` that every number is pulled to its start.
    """

    learnable: bool
    carries: bool
    holds: bool

    def init(self, layout: Layout) -> Tree: ...

    def begin(self, rows: Array, carried: Tree) -> Tree: ...

    def penalty(self, meta: Tree, carry: Tree, rows: Array, drift: Drift) -> Array: ...

    def end(self, meta: Tree, carry: Tree, rows: Array, squares: Callable[[], Array]) -> Tree: ...


class Learner(Protocol):
    """A way to the gradient of the query loss over theta; `trains` names the parts of theta that it can train.

    `streams` says that support and query may be tuples, one batch for each place of T streams. A learner that changes
    on the way is built as it is at the end of meta-training, and `at(passed)` gives it as it is where a share of the
    iterations has passed, 0 at the first and 1 at the last. `numbers()` is what it has to tell of its passes since the
    last call, and the class's `hold(layout, settings)` the layout with what its steps never move marked as shared; both
    are optional.
    """

    trains: frozenset[str]
    streams: bool
    steps: int

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]: ...


@dataclass(frozen=True)
class Parts:
    """What adapts: the engine's operations, the problem, and how rows start, move and are held."""

    ops: Any
    problem: Problem
    initializer: Initializer
    rule: Rule
    regularizer: Regularizer
