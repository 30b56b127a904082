"""Counts of what an adaptation would be given, without adapting (`melpa adapt --dry-run`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from ..core.types import Example
from ..data.tokens import Encoder
from ..store import Version
from ..store.run import Run
from .examples import check, check_description, distinct
from .history import label_set, new_examples


@dataclass(frozen=True)
class Preview:
    """Counts of examples and tokens.

    `supervised`: labels, or tokens to write. `cut`: examples longer than the `limit`. `conflicts`: texts with more than
    one label. `single`: labels with one example.
    """

    examples: int
    duplicates: int
    conflicts: int
    tokens: int
    supervised: int
    cut: int
    limit: int
    labels: Mapping[str, int]
    single: tuple[str, ...]
    form: str


def preview(run: Run, examples: Sequence[Example], previous: Version | None = None, description: str = "") -> Preview:
    """Counts what would be supervised, cut or is a duplicate; raises DataError as `adapt_user` does."""
    check_description(run, description)
    form, once = check(run, examples), distinct(examples)
    label_set(previous, examples)
    new_examples(previous, once)
    lengths = [_length(run, example) for example in examples]
    limit = run.setup.readout.encoder.max_length
    texts = Counter((e.text, e.target, e.messages) for e in once)
    labels = Counter(e.label for e in once if e.label is not None)
    return Preview(
        examples=len(examples),
        duplicates=len(examples) - len(once),
        conflicts=sum(count > 1 for count in texts.values()) if labels else 0,
        tokens=sum(min(length, limit) for length, _ in lengths),
        supervised=sum(supervised for _, supervised in lengths),
        cut=sum(length > limit for length, _ in lengths),
        limit=limit,
        labels=dict(labels),
        single=tuple(sorted(label for label, count in labels.items() if count == 1)),
        form=form,
    )


def _length(run: Run, example: Example) -> tuple[int, int]:
    """An example's tokens before it is cut, and its supervised positions after."""
    readout = run.setup.readout
    unlimited = copy(readout)
    unlimited.encoder = Encoder(readout.encoder.tokenizer, 10**9)
    if readout.classifies:
        return len(unlimited.encoder.whole(example.text)), 1
    return len(unlimited.tokens(example)[0]), sum(end - start for start, end in readout.tokens(example)[1])
