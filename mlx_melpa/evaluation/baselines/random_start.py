"""The same adapter from a random start with Adam, its rate and number of steps tuned by successive halving.

All rates run side by side on a few validation episodes, measured at a few marks only (a measure costs as much as a
step). From step 20 on a rate ends where three marks in a row brought nothing better; after 30 steps the best three go
on, after 50 the best two. The best two for the given number of steps, and the best two for any, then run on all
validation episodes, to two marks past where they were best.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from ...config.build import Composition
from ...core import inner_loop as adapt
from ...core.types import Batch, Tree
from .. import curves as evaluate

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
MARKS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100)
FEW = 12
PATIENCE, PATIENT_UNTIL = 3, 20
"""A slow rate shows nothing in its first steps."""
KEPT = {30: 3, 50: 2}
"""How many rates go on after so many steps."""
Curve = dict[int, float]
"""The mean of the main measure after some numbers of steps."""
Advance = Callable[..., None]
Batches = list[tuple[Batch, Batch]]


class Choice(NamedTuple):
    """A rate and a number of steps of Adam."""

    lr: float
    steps: int


def marks(steps: int, most: int) -> list[int]:
    """The numbers of steps that are measured: the usual ones up to `most`, and `steps`."""
    return sorted({m for m in MARKS if m <= most} | ({steps} if steps else set()))


def prepared(composed: Composition, drawn: Sequence[Any], per_pass: int) -> Batches:
    """The episodes as batches of at most `per_pass` tasks."""
    return [composed.parts.problem.prepare(chunk) for chunk in evaluate.chunks(drawn, per_pass)]


def walk(composed: Composition, theta: Tree, batches: Batches, at: Sequence[int]) -> Iterator[dict[str, float]]:
    """Adapts all episodes side by side and gives the means of their measures after each of the steps `at`."""
    parts = composed.parts
    states = [adapt.begin(parts, theta, support) for support, _ in batches]
    for before, now in pairwise([0, *at]):
        found = []
        for i, (support, query) in enumerate(batches):
            # Adam keeps its count in its memory, so that a state goes on as if it had never stopped.
            states[i] = adapt.adapt(parts, theta, support, now - before, states[i])
            found.append(parts.problem.measure(states[i]["rows"], query))
        yield {name: float(np.concatenate([f[name] for f in found]).mean()) for name in found[0]}


def best_steps(found: Curve, main: str) -> int:
    """Where a curve is best; the fewest steps of equals. What is no number is worst."""
    return max(found, key=lambda k: _worth(found[k], main))


def _worth(value: float, main: str) -> float:
    return (value if main in evaluate.HIGHER else -value) if isfinite(value) else -float("inf")


def order(curves: Mapping[float, Curve], main: str, k: int | None = None) -> list[float]:
    """Rates from best to worst after k steps, or each at its best; those not measured there are left out."""
    there = {lr: best_steps(c, main) if k is None else k for lr, c in curves.items() if k is None or k in c}
    return sorted(there, key=lambda lr: _worth(curves[lr][there[lr]], main), reverse=True)


def race(
    composed: Composition, theta: Tree, batches: Batches, at: Sequence[int], must: int, main: str, advance: Advance
) -> dict[float, Curve]:
    """Runs all rates side by side and drops the hopeless as they show, none before `must` steps."""
    walks = {lr: walk(composed.baseline(lr), theta, batches, at) for lr in RATES}
    found: dict[float, Curve] = {lr: {} for lr in RATES}
    alive = list(RATES)
    for k in at:
        for lr in alive:
            found[lr][k] = next(walks[lr])[main]
            advance(1, f"rate {lr:g}, {k} steps")
        if k < must:
            continue
        if k >= PATIENT_UNTIL:
            alive = [lr for lr in alive if not _stale(found[lr], main)]
        if k in KEPT:
            alive = [lr for lr in order(found, main) if lr in alive][: KEPT[k]]
    return found


def _stale(found: Curve, main: str) -> bool:
    return len(found) - 1 - list(found).index(best_steps(found, main)) >= PATIENCE


def tune(
    composed: Composition,
    drawn: Sequence[Any],
    steps: int,
    seed: int,
    main: str,
    *,
    most: int = 100,
    per_pass: int = 4,
    advance: Advance,
    theta: Tree | None = None,
) -> tuple[Choice, Choice]:
    """The best rate for `steps` steps, and the best rate and number of steps up to `most`, on these episodes.

    `main` is the measure that decides; `advance` is called once a rate was measured. `theta` is another start than a
    random one.
    """
    theta = composed.baseline(RATES[0]).begin(seed) if theta is None else theta
    at = marks(steps, most)
    few = race(composed, theta, prepared(composed, drawn[:FEW], per_pass), at, steps, main, advance)
    last: dict[float, int] = dict.fromkeys(order(few, main, steps)[:2], steps) if steps else {}
    for lr in order(few, main)[:2]:
        best = best_steps(few[lr], main)
        last[lr] = max(last.get(lr, 0), best, *[k for k in at if k > best][:2])
    full: dict[float, Curve] = {lr: {} for lr in last}
    batches = prepared(composed, drawn, per_pass)
    for lr, end in last.items():
        upto = [k for k in at if k <= end]
        for k, found in zip(upto, walk(composed.baseline(lr), theta, batches, upto), strict=True):
            full[lr][k] = found[main]
            advance(1, f"rate {lr:g}, {k} steps")
    best_lr = order(full, main)[0]
    fixed = order(full, main, steps)[0] if steps else best_lr
    return Choice(fixed, steps), Choice(best_lr, best_steps(full[best_lr], main))
