"""One stream under one method: its matrix R, and what it cost."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from ..continual.method import Lesson, Method, State
from ..problems.language import classified


@dataclass(frozen=True)
class Found:
    """What one order and seed came to.

    tasks: names in their order. r: R (T, T), NaN as None. untrained: accuracies (T,) of the start. seconds: of
    learning, per task. nbytes: of one person at the end. parameters: numbers that steps move. stored: examples kept.
    steps: of all tasks. lr: the rate of a random start, None where a run has its own; strength: see `Method`.
    """

    tasks: list[str]
    r: list[list[float | None]]
    untrained: list[float]
    seconds: float
    nbytes: int
    parameters: int
    stored: int
    steps: int
    lr: float | None = None
    strength: float | None = None

    @property
    def matrix(self) -> np.ndarray:
        """R as an array."""
        return np.array(self.r, np.float64)

    def to_json(self) -> dict[str, Any]:
        """All by name."""
        return asdict(self)


def accuracy(method: Method, state: State, asked: Lesson) -> float:
    """The accuracy on a task's test examples among its own labels."""
    ops, test = method.ops, asked.test
    found = ops.numpy(method.predict(state, asked))
    return float(classified(found, ops.numpy(test["onehot"]), ops.numpy(test["weights"]))["accuracy"][0])


def learn(
    method: Method, lessons: Sequence[Lesson], lr: float | None = None, advance: Callable[..., None] = lambda *_: None
) -> Found:
    """Learns the lessons in their order and asks about all of them after each."""
    state = method.begin()

    def asked() -> list[float]:
        return [accuracy(method, state, one) for one in lessons]

    untrained = asked()
    pieces = [lessons] if method.at_once else [[one] for one in lessons]
    unknown: list[float | None] = [None] * len(lessons)
    r = [unknown] * (len(lessons) - len(pieces))
    seconds = 0.0
    for piece in pieces:
        began = perf_counter()
        state = method.learn(state, piece)
        seconds += perf_counter() - began
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
    )
