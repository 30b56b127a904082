"""Whether a new version may answer: held-out examples of today, earlier ones and plain text, before it and after."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..core.class_means import recall
from ..core.types import Episode, Example
from ..evaluation.perplexity import general, plain
from ..problems.language import classified
from ..store import Version
from ..store.run import Run
from .cross_validation import Fit, curve
from .predict import probabilities

ENOUGH = 8
"""With fewer new examples none are held out."""
MARGIN = 0.1
"""How much worse earlier examples (nats) and plain text (bits per byte) may get."""
TEXTS = slice(None, None, 2)
"""Of the package's plain texts: half of them, which tell as much for half the time."""


class General(NamedTuple):
    """Bits per byte of plain text: of the base, of the version before (else the base), and of the new version.

    None where nothing is known: no step was taken yet, or the base does not write.
    """

    base: float | None = None
    before: float | None = None
    after: float | None = None

    def worse(self, margin: float) -> bool:
        """Says whether the new version is worse than what was before by more than a margin."""
        return self.before is not None and self.after is not None and not self.after <= self.before + margin


UNKNOWN = General()


def fit(run: Run, state: Mapping[str, np.ndarray], examples: Sequence[Example], labels: tuple[str, ...]) -> Fit:
    """The fit of a version's state: of its own answers to labelled examples, or to text.

    A label that it has nothing of counts as a guess of probability 1 / N, and as wrong.
    """
    if labels:
        onehot = np.array([[label == e.label for label in labels] for e in examples], np.float32)
        found, counts = probabilities(run, state, examples, labels), recall(state, labels).get("known")
        if counts is not None:
            unheard = (onehot * (counts[0] == 0)).any(-1, keepdims=True)
            found = np.where(unheard, 1 / len(labels), found)
        return fit_of(classified(found[None], onehot[None], np.ones((1, len(examples)))))
    parts = run.composed.parts
    batch = parts.problem.support([Episode("", tuple(examples), ())])
    return fit_of(parts.problem.measure(parts.ops.array(run.rows(state["rows"])), batch))


def fit_of(measures: Mapping[str, np.ndarray]) -> Fit:
    """The fit of one task's measures."""
    accuracy = measures.get("accuracy")
    return Fit(float(measures["loss"][0]), None if accuracy is None else float(accuracy[0]))


def before_folds(
    run: Run, folds: Sequence[Episode], labels: tuple[str, ...], previous: Version | None, fits: Sequence[Fit]
) -> Fit:
    """How well what there was fits the examples that the folds ask about; `fits` are those after 0, 1, ... steps."""
    if previous is None and labels:
        counts = Counter(e.label for fold in folds for e in fold.query)
        return Fit(float(np.log(len(labels))), max(counts.values()) / counts.total())
    if previous is None:
        return curve(run.composed.parts, run.theta, folds, 0, rows=run.composed.unchanged())[0]
    if "means" not in previous.state:
        return fits[0]
    return fit(run, previous.state, [e for fold in folds for e in fold.query], labels)


def standing(run: Run, previous: Version | None, moves: bool) -> General:
    """General ability as it stands, with the version before as the new one; measured only if the row `moves`."""
    known = previous.metrics if previous else {}
    base, before = known.get("general_base"), known.get("general")
    if moves and base is None:
        base = general(run.composed, None, plain()[TEXTS])
    if moves and before is None:
        before = reached(run, previous.state["rows"]) if previous else base
    return General(base, before, before)


def reached(run: Run, stored: np.ndarray) -> float | None:
    """General ability under a person's stored numbers."""
    return general(run.composed, run.rows(stored), plain()[TEXTS])


def forgets(earlier: tuple[Fit, Fit] | None, margin: float) -> bool:
    """Says whether the fit to earlier examples, before and after, is worse by more than a margin; nats."""
    return earlier is not None and not earlier[1].loss <= earlier[0].loss + margin


def judged(
    before: Fit,
    after: Fit,
    folds: int,
    previous: Version | None,
    earlier: tuple[Fit, Fit] | None = None,
    margin: float = MARGIN,
    ability: General = UNKNOWN,
) -> tuple[bool, str]:
    """Says whether the new version shall answer, and why; `earlier` is the fit to earlier examples before and after."""
    better, reason = _on_new(before, after, folds, previous)
    worse = f"worse by more than the margin of {margin:g}"
    if better and previous and earlier and forgets(earlier, margin):
        told = f"on earlier examples the loss would be {earlier[1].loss:.3f}, and that of version {previous.number} is "
        return False, f"{told}{earlier[0].loss:.3f}: {worse}"
    if better and previous and ability.worse(margin):
        told = f"plain text would take {ability.after:.3f} bits per byte, and with version {previous.number} it takes "
        return False, f"{told}{ability.before:.3f}: {worse}"
    return better, reason


def _on_new(before: Fit, after: Fit, folds: int, previous: Version | None) -> tuple[bool, str]:
    if not folds:
        return True, f"with fewer than {ENOUGH} new examples none are held out"
    if previous is None and before.accuracy is not None and (after.accuracy or 0) > before.accuracy:
        return True, f"on examples held out {after.accuracy:.0%} are right, and {before.accuracy:.0%} by a guess"
    there = f"version {previous.number}" if previous else "the base model" if after.accuracy is None else "a guess"
    better = after.loss < before.loss
    is_ = "is" if better else "would be"
    return better, f"on examples held out the loss {is_} {after.loss:.3f}, and that of {there} is {before.loss:.3f}"
