"""Adaptation of many users in batches, compared with one after the other."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...config.build import Composition, compose
from ...core import inner_loop
from ...core.microbatches import chunks
from ...core.types import Episode
from ..study import Advance
from .fixtures import recipe, upper_half
from .interleaved import Ratio
from .settings import Settings, number

USERS, STEPS = 32, 5
GOAL, GOAL_ON_A_GPU = 0.95, 8.0
ROW_TOLERANCE = 1e-5


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Users per second in batches of T, the fastest of 1, 2, 4, ... in a first round, compared with batches of 1.

    `rows`: the largest difference between rows adapted in one batch and one by one.
    """
    from ...backends.mlx import ops

    count = 4 if settings.short else USERS
    shots = {"tasks.shots": 3, "tasks.queries": 3} if settings.short else {}
    made = recipe(settings.model, {"adapter.layers": upper_half(settings.model), "learner.steps": STEPS, **shots})
    composed = compose(made)
    try:
        theta = composed.begin(0)
        tasks = made.make("tasks").train
        users = [tasks.episode(np.random.default_rng([5, i])) for i in range(count)]
        alone = adapted(composed, theta, users, 1)[1]
        together = adapted(composed, theta, users, count)[1]
        difference = float(np.abs(alone - together).max())
        sizes = [2**i for i in range(count.bit_length()) if 2**i <= count]

        def timed(size: int) -> float:
            return adapted(composed, theta, users, size)[0]

        fastest = {size: min(timed(size) for _ in range(2)) for size in sizes}
        best = min(fastest, key=lambda size: fastest[size])
        advance(1, f"{best} users in a batch")
        answers = []
        for _ in range(settings.repeats):
            answers.append(({"seconds": timed(best)}, {"seconds": timed(1)}))
            advance(1)
        ratio = Ratio(tuple(answers), lambda answer: count / answer["seconds"])
        gpu = ops.identity()["device"].startswith("Device(gpu")
        return {
            "together": ratio.record("people/s", GOAL_ON_A_GPU if gpu else GOAL, people=count, people_per_pass=best),
            "rows": number(difference, "largest difference", at_most=ROW_TOLERANCE),
            "per_pass": {str(size): number(count / seconds, "people/s") for size, seconds in fastest.items()},
        }
    finally:
        composed.model.detach()


def adapted(composed: Composition, theta: Any, users: Sequence[Episode], size: int) -> tuple[float, np.ndarray]:
    """Seconds to adapt all users in batches of `size`, and their rows (users, P)."""
    parts, rows = composed.parts, []
    began = time.perf_counter()
    for part in chunks(users, size):
        support = parts.problem.support(part)
        rows.append(parts.ops.numpy(inner_loop.adapt(parts, theta, support, STEPS)["rows"]))
    return time.perf_counter() - began, np.concatenate(rows)
