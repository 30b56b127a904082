"""One stream under one method: its matrix R, and what it cost."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from ...core.types import Example
from ...evaluation.perplexity import general
from .counted import Counted
from .methods.method import Lesson, Method, State
from .protocol import Ask, known


@dataclass(frozen=True)
class Found:
    """What one order and seed came to.

    tasks: names in their order. r: R (T, T), NaN as None. untrained: the same (T,) of the start. seconds: of learning,
    per task. nbytes: of one person at the end. parameters: numbers that steps move. stored: examples kept. steps: of
    all tasks. lr: the rate of a random start, None where a run has its own; strength: see `Method`. general: bits per
    byte of plain text at the start and at the end, the mean over rows. flops: of learning, per task, None where they
    can't be counted.
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

    def to_json(self) -> dict[str, Any]:
        """All by name."""
        return asdict(self)


def learn(
    method: Method,
    lessons: Sequence[Lesson],
    lr: float | None = None,
    advance: Callable[..., None] = lambda *_: None,
    ask: Ask = known,
    texts: Sequence[Example] | None = (),
) -> Found:
    """Learns the lessons in their order and asks about all of them after each.

    `texts` are for general ability: the package's own if empty, and None where it is not asked for.
    """
    state, learned = method.begin(), list[Lesson]()

    def asked() -> list[float | None]:
        return [ask(method, state, one, learned) for one in lessons]

    untrained, before = asked(), ability(method, state, texts)
    pieces = [lessons] if method.at_once else [[one] for one in lessons]
    unknown: list[float | None] = [None] * len(lessons)
    r = [unknown] * (len(lessons) - len(pieces))
    seconds = operations = 0.0
    for piece in pieces:
        began, done = perf_counter(), products(method)
        state = method.learn(state, piece)
        seconds, operations = seconds + perf_counter() - began, operations + products(method) - done
        learned += piece
        r.append([*asked()])
        advance(1, piece[-1].task.name)
    return Found(
        tasks=[one.task.name for one in lessons],
        r=r,
        untrained=untrained,
        seconds=seconds / len(lessons),
        nbytes=method.nbytes(state),
        parameters=method.trainable(),
        stored=sum(map(len, state.examples.values())),
        steps=method.steps * len(lessons),
        lr=lr,
        strength=method.strength,
        general=(before, ability(method, state, texts)),
        flops=operations / len(lessons) if isinstance(method.problem, Counted) else None,
    )


def ability(method: Method, state: State, texts: Sequence[Example] | None = ()) -> float | None:
    """General ability, the mean over a method's rows that answer; of the start where it has none yet."""
    if texts is None:
        return None
    rows = state.rows if state.rows.shape[0] else Method.begin(method).rows
    used = sorted(set(state.row_of.values())) or range(rows.shape[0])
    found = [general(method.start.composed, rows[i : i + 1], texts) for i in used]
    told = [value for value in found if value is not None]
    return sum(told) / len(told) if told else None


def products(method: Method) -> int:
    """The floating-point operations that a method has asked for so far."""
    return method.problem.flops if isinstance(method.problem, Counted) else 0
