"""Many people in one call beside one after the other, with the people in a pass chosen by measurement"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...config.build import Composition, compose
from ...core import inner_loop as adapt
from ...core.microbatches import chunks
from ...core.types import Episode
from .fixtures import recipe, upper_half
from .interleaved import Ratio
from .settings import Advance, Settings, number

PEOPLE, STEPS = 32, 5
WANTED, ON_A_GPU = 0.95, 8.0
SAME = 1e-5


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """People per second in passes of T, T the fastest of 1, 2, 4, ... in a first round, beside passes of 1.

    `rows`: how far the adapted rows of all people in one pass lie from those adapted alone.
    """
    from ...backends.mlx import ops

    count = 4 if settings.short else PEOPLE
    made = recipe(settings.model, layers=upper_half(settings.model), steps=STEPS, shots=3 if settings.short else 10)
    composed = compose(made)
    try:
        theta = composed.begin(0)
        tasks = made.make("tasks").train
        people = [tasks.episode(np.random.default_rng([5, i])) for i in range(count)]
        alone = adapted(composed, theta, people, 1)[1]
        together = adapted(composed, theta, people, count)[1]
        away = float(np.abs(alone - together).max())
        sizes = [2**i for i in range(count.bit_length()) if 2**i <= count]

        def timed(size: int) -> float:
            return adapted(composed, theta, people, size)[0]

        found = {size: min(timed(size) for _ in range(2)) for size in sizes}
        best = min(found, key=lambda size: found[size])
        advance(1, f"{best} people in a pass")
        answers = []
        for _ in range(settings.pairs):
            answers.append(({"seconds": timed(best)}, {"seconds": timed(1)}))
            advance(1)
        ratio = Ratio(tuple(answers), lambda answer: count / answer["seconds"])
        gpu = ops.identity()["device"].startswith("Device(gpu")
        return {
            "together": ratio.record("people/s", ON_A_GPU if gpu else WANTED, people=count, people_per_pass=best),
            "rows": number(away, "largest difference", at_most=SAME),
            "per_pass": {str(size): number(count / seconds, "people/s") for size, seconds in found.items()},
        }
    finally:
        composed.model.detach()


def adapted(composed: Composition, theta: Any, people: Sequence[Episode], size: int) -> tuple[float, np.ndarray]:
    """Seconds to adapt all people in passes of `size`, and their rows (people, P)."""
    parts, rows = composed.parts, []
    began = time.perf_counter()
    for part in chunks(people, size):
        support = parts.problem.support(part)
        rows.append(parts.ops.numpy(adapt.adapt(parts, theta, support, STEPS)["rows"]))
    return time.perf_counter() - began, np.concatenate(rows)
