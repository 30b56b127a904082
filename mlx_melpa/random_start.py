"""The same adapter from a random start with Adam, its rate and number of steps tuned by successive halving.

All rates run on a few validation episodes, up to the most steps allowed, measured at a few marks only (a measure costs
as much as a step); from step 20 on a rate ends where three marks in a row brought nothing better. The best two, for the
given number of steps and for any number, then run on all validation episodes, to two marks past where they were best.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from . import adapt, evaluate
from .compose import Composition
from .types import Tree

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
MARKS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100)
FEW = 12
PATIENCE, PATIENT_UNTIL = 3, 20
"""A slow rate shows nothing in its first steps."""
Curve = dict[int, float]
"""The mean of the main measure after some numbers of steps."""
Advance = Callable[..., None]


class Choice(NamedTuple):
    """A rate and a number of steps of Adam."""

    lr: float
    steps: int


def marks(steps: int, most: int) -> list[int]:
    """The numbers of steps that are measured: the usual ones up to `most`, and `steps`."""
    return sorted({m for m in MARKS if m <= most} | ({steps} if steps else set()))


def curve(
    composed: Composition, theta: Tree, drawn: Sequence[Any], at: Sequence[int], must: int, per_pass: int
) -> tuple[Curve, str]:
    """The main measure after the steps `at`, all episodes side by side, until patience ends it (not before `must`).

    Returns the curve and the measure's name.
    """
    parts, found, main = composed.parts, Curve(), ""
    batches = [parts.problem.prepare(chunk) for chunk in evaluate.chunks(drawn, per_pass)]
    states = [adapt.begin(parts, theta, support) for support, _ in batches]
    for before, now in pairwise([0, *at]):
        values: list[np.ndarray] = []
        for i, (support, query) in enumerate(batches):
            # Adam keeps its count in its memory, so that a state goes on as if it had never stopped.
            states[i] = adapt.adapt(parts, theta, support, now - before, states[i])
            measures = parts.problem.measure(states[i]["rows"], query)
            main = main or evaluate.main_measure(list(measures))
            values.append(measures[main])
        found[now] = float(np.concatenate(values).mean())
        if now >= must and (not isfinite(found[now]) or (now >= PATIENT_UNTIL and _stale(found, main))):
            break
    return found, main


def _stale(found: Curve, main: str) -> bool:
    values = list(found.values())
    best = best_steps(found, main)
    return len(values) - 1 - list(found).index(best) >= PATIENCE


def best_steps(found: Curve, main: str) -> int:
    """Where a curve is best; the fewest steps of equals. What is no number is worst."""
    sign = 1 if main in evaluate.HIGHER else -1
    return max(found, key=lambda k: sign * found[k] if isfinite(found[k]) else -float("inf"))


def tune(
    composed: Composition,
    drawn: Sequence[Any],
    steps: int,
    seed: int,
    *,
    most: int = 100,
    per_pass: int = 4,
    advance: Advance,
) -> tuple[Choice, Choice]:
    """The best rate for `steps` steps, and the best rate and number of steps up to `most`, on these episodes.

    `advance` is called once a rate has run; the rates number len(RATES), then up to four.
    """
    theta = composed.baseline(RATES[0]).begin(seed)
    at = marks(steps, most)
    few: dict[float, Curve] = {}
    main = ""
    for lr in RATES:
        few[lr], main = curve(composed.baseline(lr), theta, drawn[:FEW], at, steps, per_pass)
        advance(1, f"rate {lr:g}")
    sign = 1 if main in evaluate.HIGHER else -1

    def order(curves: dict[float, Curve], k: int | None) -> list[float]:
        def worth(lr: float) -> float:
            value = curves[lr].get(best_steps(curves[lr], main) if k is None else k, float("nan"))
            return sign * value if isfinite(value) else -float("inf")

        return sorted(curves, key=worth, reverse=True)

    last: dict[float, int] = dict.fromkeys(order(few, steps)[:2] if steps else [], steps)
    for lr in order(few, None)[:2]:
        beyond = [k for k in at if k > best_steps(few[lr], main)][:2]
        last[lr] = max(last.get(lr, 0), *beyond, best_steps(few[lr], main))
    full: dict[float, Curve] = {}
    for lr, end in last.items():
        full[lr], _ = curve(composed.baseline(lr), theta, drawn, [k for k in at if k <= end], end, per_pass)
        advance(1, f"rate {lr:g}")
    any_lr = order(full, None)[0]
    fixed = order({lr: c for lr, c in full.items() if steps in c}, steps)[0] if steps else any_lr
    return Choice(fixed, steps), Choice(any_lr, best_steps(full[any_lr], main))
