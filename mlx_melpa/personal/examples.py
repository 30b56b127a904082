"""What a person's examples come to, before anything is learned from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from ..core.types import Example
from ..data.tokens import Encoder
from ..errors import DataError
from ..store import Version
from ..store.run import Run
from .history import merged, unlearned


@dataclass(frozen=True)
class Look:
    """What an adaptation would be given: counts of examples and tokens; `cut` examples are longer than the limit."""

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


def look(run: Run, examples: Sequence[Example], previous: Version | None = None) -> Look:
    """Counts what would be supervised, cut, or is there twice; raises DataError as `adapt_person` does."""
    form, once = check(run, examples), distinct(examples)
    merged(previous, examples)
    unlearned(previous, once)
    readout = run.composed.readout
    whole = copy(readout)
    whole.encoder = Encoder(readout.encoder.tokenizer, 10**9)
    limit, tokens, supervised, cut = readout.encoder.max_length, 0, 0, 0
    for example in examples:
        if readout.classifies:
            length, marked = len(whole.encoder.whole(example.text)), 1
        else:
            length = len(whole.tokens(example)[0])
            marked = sum(b - a for a, b in readout.tokens(example)[1])
        tokens, supervised, cut = tokens + min(length, limit), supervised + marked, cut + (length > limit)
    texts = Counter((e.text, e.target, e.messages) for e in once)
    labels = Counter(e.label for e in once if e.label is not None)
    single = tuple(sorted(label for label, count in labels.items() if count == 1))
    conflicts = sum(count > 1 for count in texts.values()) if labels else 0
    twice = len(examples) - len(once)
    return Look(len(examples), twice, conflicts, tokens, supervised, cut, limit, dict(labels), single, form)


def distinct(examples: Sequence[Example]) -> list[Example]:
    """Each example once, in order, with the place where it stands first."""
    return list(dict.fromkeys(examples))


def check_about(run: Run, about: str) -> None:
    """Raises DataError for a description where the run has no use for one."""
    if about and not run.described:
        raise DataError(
            f"--about: run '{run.name}' begins from no description; leave it out, or name with --run one that was "
            "trained with initializer: {kind: hypernetwork, context: description}"
        )


def check(run: Run, examples: Sequence[Example]) -> str:
    """Names the examples' form: labels, messages, prompts or lines; raises DataError where the run can't take it."""
    if run.composed.model is None:
        raise DataError(f"run '{run.name}' has no language model to adapt; give another --run")
    classifies = run.composed.readout.classifies
    for example in examples:
        where = example.source or repr(example.text[:40])
        if classifies and example.label is None:
            raise DataError(
                f"{where}: run '{run.name}' gives labels, and this has none; give text and label, or name with --run "
                "one that writes text (melpa prepare MODEL --tasks TEXTS makes one)"
            )
        if not classifies and example.label is not None:
            raise DataError(
                f"{where}: run '{run.name}' writes text, and this has a label; give prompt and completion, or name "
                "with --run one that gives labels (melpa prepare MODEL makes one)"
            )
    if classifies:
        return "labels"
    return "messages" if examples[0].messages else "prompts" if examples[0].text else "lines"
