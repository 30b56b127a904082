"""The acceptance test: a new version replaces the previous one if it fits new examples better and forgets little."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..errors import StoreError
from ..evaluation.perplexity import general_ability, general_texts
from ..store import NOT_MEASURED, BitsPerByte, UserState
from ..store.run import Run
from ..store.version import NOT_FINITE
from .cross_validation import MIN_EXAMPLES
from .examples import UserExamples
from .predict import Fit, engine_rows, evaluate_state
from .step_search import StepSearch, base_fit
from .train import Trained

MAX_FORGETTING = 0.1
"""Largest allowed increase of the loss on stored examples (nats) and on general text (bits per byte)."""
TEXTS = slice(None, None, 2)
"""Half of the package's general texts: they tell as much for half the time."""


@dataclass(frozen=True)
class Measures:
    """What is measured of one state.

    new: the fit to new examples, held out where there are folds. earlier: the fit to the held-out stored examples, None
    without any. bits_per_byte: on general text.
    """

    new: Fit
    earlier: Fit | None
    bits_per_byte: BitsPerByte


@dataclass(frozen=True)
class Verdict:
    """The decision on one state. `forgotten` names what it loses too much of, "" if nothing."""

    accepted: bool
    reason: str
    before: Measures
    after: Measures
    forgotten: str = ""

    @property
    def keeps_earlier(self) -> bool:
        """True if the loss on stored examples and on general text rises by no more than the allowed amount."""
        return not self.forgotten


def measure_previous(trained: Trained, search: StepSearch) -> Measures:
    """Measures the previous version, or what a new user has without one.

    For labels that is a guess, log N or the share of the largest class; for text the base model. Without folds the
    support set is measured before the first step. Bits per byte are measured only if steps may change the adapter.
    """
    run, (data,) = trained.run, trained.users
    previous, moves = data.previous, search.steps > 0
    known = previous.bits_per_byte if previous else NOT_MEASURED
    base = general_ability(run.setup, None, general_texts()[TEXTS]) if moves and known.base is None else known.base
    version = known.version
    if moves and version is None:
        version = bits_per_byte(run, previous.state) if previous else base
    earlier = evaluate_state(run, previous.state, data.held_out, data.labels) if previous and data.held_out else None
    return Measures(_fit_before(trained, search), earlier, BitsPerByte(base, version))


def measure(trained: Trained, search: StepSearch, steps: int, state: UserState, before: Measures) -> Measures:
    """Measures a user's state after a number of steps. Raises StoreError for a row that is not finite."""
    run, (data,) = trained.run, trained.users
    if not state.finite:
        raise StoreError(NOT_FINITE)
    new = search.fits[steps] if search.fits else trained.fits(engine_rows(run, [state]))[0]
    earlier = evaluate_state(run, state, data.held_out, data.labels) if before.earlier else None
    bits = BitsPerByte(before.bits_per_byte.base, bits_per_byte(run, state)) if steps else before.bits_per_byte
    return Measures(new, earlier, bits)


def compare(data: UserExamples, before: Measures, after: Measures, max_forgetting: float = MAX_FORGETTING) -> Verdict:
    """Accepts or rejects a new version by what it and the previous one measure.

    Its loss on held-out new examples must be lower. Its loss on stored examples and its bits per byte of general text
    may rise by `max_forgetting` at most; a first version is not held to these.
    """
    better, reason = improves(data, before.new, after.new)
    forgotten, cost = "", ""
    if exceeds_margin(before.earlier and before.earlier.loss, after.earlier and after.earlier.loss, max_forgetting):
        assert before.earlier and after.earlier
        forgotten = "earlier examples"
        cost = f"the loss on earlier examples would be {after.earlier.loss:.3f}, and {before.earlier.loss:.3f}"
    elif exceeds_margin(before.bits_per_byte.version, after.bits_per_byte.version, max_forgetting):
        forgotten = "general text"
        bits = (after.bits_per_byte.version, before.bits_per_byte.version)
        cost = f"general text would take {bits[0]:.3f} bits per byte, and {bits[1]:.3f}"
    if better and data.previous and forgotten:
        better = False
        reason = f"{cost} with version {data.previous.number}: worse by more than the allowed {max_forgetting:g}"
    return Verdict(better, reason, before, after, forgotten)


def improves(data: UserExamples, before: Fit, after: Fit) -> tuple[bool, str]:
    """True if a new version fits the held-out new examples better, and the reason in words."""
    if not data.folds:
        return True, f"with fewer than {MIN_EXAMPLES} new examples none are held out"
    if data.previous is None and before.accuracy is not None and (after.accuracy or 0) > before.accuracy:
        return True, f"on held-out examples {after.accuracy:.0%} are right, and {before.accuracy:.0%} by chance"
    other = "the base model" if after.accuracy is None else "chance"
    other = f"version {data.previous.number}" if data.previous else other
    better = after.loss < before.loss
    return better, (
        f"on held-out examples the loss {'is' if better else 'would be'} {after.loss:.3f}, and that of {other} is "
        f"{before.loss:.3f}"
    )


def exceeds_margin(before: float | None, after: float | None, margin: float) -> bool:
    """True if a measure rises by more than a margin or is NaN; False if one of the two was not measured."""
    return before is not None and after is not None and not after <= before + margin


def bits_per_byte(run: Run, state: UserState) -> float | None:
    """Bits per byte of general text under a user's row; None for a base that does not write."""
    return general_ability(run.setup, run.acting(state.rows), general_texts()[TEXTS])


def _fit_before(trained: Trained, search: StepSearch) -> Fit:
    run, (data,) = trained.run, trained.users
    previous, queries = data.previous, [e for fold in data.folds for e in fold.query]
    if not data.folds:
        if previous and data.memory:
            return evaluate_state(run, previous.state, data.sample, data.labels)
        return trained.fits(trained.at[0]["rows"])[0]
    if previous is not None:
        known = previous.state.means is not None
        return evaluate_state(run, previous.state, queries, data.labels) if known else search.fits[0]
    if data.labels:
        counts = Counter(e.label for e in queries)
        return Fit(float(np.log(len(data.labels))), max(counts.values()) / counts.total())
    return base_fit(run, data.folds)
