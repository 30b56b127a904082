"""One user's examples: checks, and their division into support, replay, held-out and calibration sets."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.class_means import load_class_means
from ..core.types import Episode, Example
from ..errors import DataError
from ..store import Version
from ..store.run import Run
from .cross_validation import MIN_EXAMPLES, make_folds
from .history import LearnedExamples, label_set, new_examples, split_replay

MAX_SUPPORT = 64
"""Examples that gradient steps see, and as many replayed ones. Class means are made of all examples."""
MAX_TOGETHER = 1024
"""Examples that the temperature is fitted on, and that one update of the class means takes."""


@dataclass(frozen=True)
class UserExamples:
    """One user's examples, divided for an adaptation.

    new: those that the previous version has not learned. available: those that may be trained on: all, or the new ones
    if the previous version's class means include the others. sample: at most MAX_SUPPORT of these. replayed and
    held_out: stored earlier examples, trained on or kept for the forgetting check. calibration: what the temperature is
    fitted on. memory: the readout's class means of earlier examples. folds: cross-validation episodes over the new
    examples. notes: what the user should know of how they count.
    """

    form: str
    labels: tuple[str, ...]
    description: str
    previous: Version | None
    new: tuple[Example, ...]
    available: tuple[Example, ...]
    sample: tuple[Example, ...]
    replayed: tuple[Example, ...]
    held_out: tuple[Example, ...]
    calibration: tuple[Example, ...]
    memory: Mapping[str, np.ndarray]
    folds: tuple[Episode, ...]
    notes: tuple[str, ...]

    @property
    def support(self) -> tuple[Example, ...]:
        """The support set of the gradient steps."""
        return (*self.sample, *self.replayed)

    @property
    def learned(self) -> LearnedExamples:
        """What the next version has learned."""
        return LearnedExamples.of(self.previous).add(self.new)

    def episode(self, examples: Sequence[Example]) -> Episode:
        """Some of the user's examples as the support set of one task."""
        return Episode("", tuple(examples), (), self.labels, self.description)

    def fold(self, fold: Episode) -> "UserExamples":
        """The same user with the support set of one fold, which also fits the temperature."""
        return replace(self, sample=fold.support, replayed=(), calibration=fold.support)


def split_examples(
    run: Run,
    examples: Sequence[Example],
    previous: Version | None = None,
    stored: Sequence[Example] = (),
    description: str = "",
    seed: int = 0,
) -> UserExamples:
    """Divides a user's examples and their `stored` earlier ones. Without a previous version all count as given.

    Raises DataError for examples that don't fit the run, and where none is new.
    """
    given = list(examples)
    if previous is None:
        given += [e for e in stored if (e.label is None) == (examples[0].label is None)]
    form, labels, once = check(run, given), label_set(previous, given), distinct(given)
    new, earlier = new_examples(previous, once), LearnedExamples.of(previous).contains(stored)
    available = once if previous is None or previous.state.means is None else new
    rng = np.random.default_rng([seed, 2])
    sample, replayed, held_out = (
        draw(part, rng, MAX_SUPPORT) for part in (available, *split_replay(earlier, once, labels))
    )
    description = description or (previous.description if previous else "")
    enough = len(new) >= MIN_EXAMPLES
    folds = make_folds([*sample, *replayed], set(new), labels, rng, description) if enough else []
    more = labels and len(available) > len(sample)
    calibration = (*(draw(available, rng, MAX_TOGETHER) if more else sample), *replayed)
    memory = load_class_means(previous.state.class_means if previous else {}, labels, replayed)
    notes = tuple(_notes(len(given), len(examples), len(once), len(new), previous, description))
    sets = (tuple(new), tuple(available), sample, replayed, held_out, calibration)
    return UserExamples(form, labels, description, previous, *sets, memory, tuple(folds), notes)


def _notes(
    given: int, without_stored: int, distinct: int, new: int, previous: Version | None, description: str
) -> Iterator[str]:
    if distinct < given:
        yield f"{given - distinct} of {given} examples are duplicates and count once"
    if previous is not None and new < distinct:
        known = f"{distinct - new} of {distinct} examples"
        yield f"version {previous.number} has learned {known} already: they are not counted"
    if previous is not None and description != previous.description:
        yield f"the description is stored for a new start; this version continues version {previous.number}"
    if without_stored < given:
        yield f"{given - without_stored} stored examples are added to the new ones: this version starts again"


def distinct(examples: Sequence[Example]) -> list[Example]:
    """Each example once, in order, with its first source."""
    return list(dict.fromkeys(examples))


def draw(examples: Sequence[Example], rng: np.random.Generator, most: int) -> tuple[Example, ...]:
    """Draws at most `most` examples, taking turns between labels."""
    if len(examples) <= most:
        return tuple(examples)
    turn: Counter[str | None] = Counter()
    ranked = []
    for i in rng.permutation(len(examples)):
        turn[examples[i].label] += 1
        ranked.append((turn[examples[i].label], int(i)))
    return tuple(examples[i] for _, i in sorted(ranked)[:most])


def check_description(run: Run, description: str) -> None:
    """Raises DataError for a description if the run does not read any."""
    if description and not run.uses_descriptions:
        raise DataError(
            f"--description: run '{run.name}' reads no description; leave it out, or name with --run one that was "
            "trained with initializer: {kind: hypernetwork, context: description}"
        )


def check(run: Run, examples: Sequence[Example]) -> str:
    """The examples' form: labels, messages, prompts or lines. Raises DataError where the run can't take it."""
    if run.setup.model is None:
        raise DataError(f"run '{run.name}' has no language model to adapt; give another --run")
    classifies = run.setup.readout.classifies
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
