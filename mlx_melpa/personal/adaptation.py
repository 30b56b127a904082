"""Adaptation of one user: from their examples and their previous version to the next one."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from ..core.types import Example
from ..data.readers import read_examples
from ..store import Version
from ..store.run import Run
from .acceptance import MAX_FORGETTING, Verdict, compare, measure, measure_previous
from .examples import check_description, split_examples
from .result import Adaptation, adaptation
from .step_search import Steps, choose_steps
from .train import train


def adapt_user(
    run: Run,
    examples: str | Path | Sequence[Example],
    *,
    previous: Version | None = None,
    steps: Steps = "auto",
    seed: int = 0,
    stored: Sequence[Example] = (),
    max_forgetting: float = MAX_FORGETTING,
    description: str = "",
) -> Adaptation:
    """Adapts to one user's examples, a list or a file, and decides if the new version replaces the previous one.

    With MIN_EXAMPLES new examples or more, cross-validation chooses the number of steps (see `choose_steps`) and
    measures the result; then all examples train. Half of the `stored` earlier examples are replayed; on the other half
    the loss may rise by `max_forgetting` nats, and on general text the bits per byte by as much. Where they rise more,
    "auto" tries half of the steps and so on. Without a `previous` version the stored examples count as new, and
    `description` is read by runs that use descriptions. Nothing is stored here. Raises DataError for examples that
    don't fit the run, and where none is new.
    """
    began = perf_counter()
    check_description(run, description)
    if isinstance(examples, str | Path):
        examples = [record.example for record in read_examples(str(examples))]
    data = split_examples(run, examples, previous, stored, description, seed)
    search = choose_steps(run, data, steps)
    trained = train(run, [data], search.candidates)
    before = measure_previous(trained, search)
    verdicts: list[Verdict] = []
    for k in search.candidates:
        (state,) = trained.states(k)
        verdicts.append(compare(data, before, measure(trained, search, k, state, before), max_forgetting))
        if verdicts[-1].keeps_earlier:
            break
    return adaptation(run, data, search, verdicts, state, perf_counter() - began)
