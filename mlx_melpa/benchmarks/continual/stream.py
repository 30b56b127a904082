"""One method on one stream: its matrix R, and what learning cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter

import numpy as np

from ...core.progress import Advance, silent
from ...core.types import Example, Json
from ...evaluation.perplexity import general_ability
from .methods.method import EncodedTask, Method, State
from .scenarios import Scenario, task_incremental


@dataclass(frozen=True)
class StreamResult:
    """The result of one order and seed.

    tasks: names in their order. r: R (T, T), NaN as None. untrained: the same (T,) before the first task. seconds: of
    learning, per task. nbytes: per user, at the end. parameters: numbers that steps change. stored: examples kept.
    steps: of all tasks. lr: Adam's rate of a random start, None for a run. strength: see `Method`. general: bits per
    byte of general text before and after, the mean over rows. flops: of learning, per task, None where unknown.
    """

    tasks: list[str]
    r: list[list[float | None]]
    untrained: list[float | None]
    seconds: float
    nbytes: int
    parameters: int
    stored: int
    steps: int
    lr: float | None = None
    strength: float | None = None
    general: tuple[float | None, float | None] = (None, None)
    flops: float | None = None

    @property
    def matrix(self) -> np.ndarray:
        """R as an array."""
        return np.array(self.r, np.float64)

    def to_json(self) -> Json:
        """All fields by name."""
        return asdict(self)


def learn_stream(
    method: Method,
    tasks: Sequence[EncodedTask],
    lr: float | None = None,
    scenario: Scenario = task_incremental,
    texts: Sequence[Example] | None = (),
    advance: Advance = silent,
) -> StreamResult:
    """Learns the tasks in their order and measures all of them after each.

    texts: for general ability; the package's own if empty, not measured if None.
    """
    state, learned = method.begin(), list[EncodedTask]()
    counter, seconds = method.start.flops, 0.0

    def measured() -> list[float | None]:
        return [scenario(method, state, one, learned) for one in tasks]

    untrained, before = measured(), general_bits_per_byte(method, state, texts)
    pieces = [tasks] if method.at_once else [[one] for one in tasks]
    unknown: list[float | None] = [None] * len(tasks)
    r = [unknown] * (len(tasks) - len(pieces))
    operations = 0
    for piece in pieces:
        advance(0, piece[0].task.name)
        began, counted = perf_counter(), counter.total if counter else 0
        state = method.learn(state, piece)
        seconds += perf_counter() - began
        operations += (counter.total if counter else 0) - counted
        learned += piece
        r.append(measured())
    return StreamResult(
        tasks=[one.task.name for one in tasks],
        r=r,
        untrained=untrained,
        seconds=seconds / len(tasks),
        nbytes=method.nbytes(state),
        parameters=method.trained_parameters(),
        stored=sum(map(len, state.examples.values())),
        steps=method.steps * len(tasks),
        lr=lr,
        strength=method.strength,
        general=(before, general_bits_per_byte(method, state, texts)),
        flops=operations / len(tasks) if counter else None,
    )


def general_bits_per_byte(method: Method, state: State, texts: Sequence[Example] | None = ()) -> float | None:
    """Bits per byte of general text, the mean over the rows that answer; of the initialization if there is none yet."""
    if texts is None:
        return None
    rows = state.rows if state.rows.shape[0] else Method.begin(method).rows
    used = sorted(set(state.row_of.values())) or range(rows.shape[0])
    measured = [general_ability(method.start.setup, rows[i : i + 1], texts) for i in used]
    values = [value for value in measured if value is not None]
    return sum(values) / len(values) if values else None
