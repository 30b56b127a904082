"""Examples by simulated people for timing, at equal or natural lengths."""

from collections.abc import Callable
from typing import cast

import numpy as np

from ...core.types import Example
from ...tasks.synthetic import SimulatedTasks, synthetic

Count = Callable[[str], int]
"""The tokens of a text."""


def examples(case: str, number: int, length: int, count: Count, seed: int = 0) -> list[Example]:
    """Examples of a case; `length` (tokens) is the limit of the readout, which cuts to it.

    all_tokens: nothing before the target, and enough of it to be cut. completions: threads long enough to be cut, with
    a target of a tenth. completions_natural: threads of a natural number of messages (geometric, 4 on average), with a
    target of a tenth of each. labels: one message, its label is the target.
    """
    rng = np.random.default_rng([seed, 7])
    made = []
    for i in range(number):
        if case == "labels":
            made.append(_labelled(i, rng))
            continue
        messages = int(rng.geometric(0.25)) if case == "completions_natural" else length
        thread, reply = _thread(messages, rng)
        if case == "all_tokens":
            made.append(Example("", target=thread))
        else:
            tenth = min(length, count(thread) * 10 / 9) / 10
            made.append(Example(thread, target=_cut(reply, tenth - 1, count)))
    return made


def _thread(messages: int, rng: np.random.Generator) -> tuple[str, str]:
    """A number of messages in others' styles, a line each, and a long reply in one person's style."""
    people = cast(SimulatedTasks, synthetic(variant="style", shots=messages, queries=3).train)
    _, lines = people.text_person(rng)
    return "\n".join(e.text for e in lines[:messages]), " ".join(e.target or "" for e in lines[messages:])


def _labelled(i: int, rng: np.random.Generator) -> Example:
    drawn = synthetic(variant="people", ways=5, shots=1, queries=1).train.episode(rng).support
    example = drawn[i % len(drawn)]
    return Example(example.text, target=" " + str(example.label))


def _cut(text: str, most: float, count: Count) -> str:
    """The first words of a text, at least one: as many as come nearest to `most` tokens."""
    words = text.split()
    whole = [" ".join(words[: n + 1]) for n in range(len(words))]
    return min(whole, key=lambda part: abs(count(part) - most))
