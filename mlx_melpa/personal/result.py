"""The result of an adaptation: the version to store, the verdict on it, and notes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..store import NOT_MEASURED, BitsPerByte, UserState, Version
from ..store.run import Run
from .acceptance import Measures, Verdict
from .examples import UserExamples
from .predict import Fit, finite
from .step_search import StepSearch

UNCHANGED = (
    "the adapter does not change where class means are stored: new examples update the class means, with no step"
)
CHANGED = "steps change the adapter after class means were stored: earlier labels may be lost"


@dataclass(frozen=True)
class Adaptation:
    """One user's adaptation.

    version: what to store. data: the examples as they were divided. search: the search for the number of steps.
    verdict: whether the version replaces the previous one. steps: the steps taken. notes: what a user should know.
    """

    version: Version
    data: UserExamples
    search: StepSearch
    verdict: Verdict
    steps: int
    seconds: float
    notes: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """True if the version replaces the previous one."""
        return self.verdict.accepted

    @property
    def before(self) -> Measures:
        """The measures of the previous version, or of the base."""
        return self.verdict.before

    @property
    def after(self) -> Measures:
        """The measures of the new version."""
        return self.verdict.after

    def to_json(self) -> dict[str, object]:
        """The adaptation as `melpa adapt --json` prints it."""
        before, after = self.before, self.after
        check = {
            "examples": len(self.data.held_out),
            "before": _fields(before.earlier),
            "after": _fields(after.earlier),
        }
        bits = {"base": after.bits_per_byte.base, "before": before.bits_per_byte.version}
        return {
            "accepted": self.accepted,
            "reason": self.verdict.reason,
            "random_start": self.version.run is None,
            "steps": self.steps,
            **{name: self.version.metrics[name] for name in ("loss_before", "loss_after", "accuracy")},
            "forgetting_check": check if before.earlier else None,
            "bits_per_byte": {**bits, "after": after.bits_per_byte.version, "unchanged": self.steps == 0},
            "replayed": len(self.data.replayed),
            "folds": len(self.data.folds),
            "curve": [fit.loss for fit in self.search.fits],
            "labels": self.version.labels,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


def adaptation(
    run: Run, data: UserExamples, search: StepSearch, verdicts: Sequence[Verdict], state: UserState, seconds: float
) -> Adaptation:
    """The result after the candidates of a search were tried in turn; `verdicts` are theirs, `state` the last one's."""
    steps = search.candidates[len(verdicts) - 1]
    verdict = verdicts[-1]
    metrics = metrics_of(steps, verdict.before, verdict.after) | {"seconds": seconds, "folds": len(data.folds)}
    version = version_of(run, data, state, metrics, verdict.after.bits_per_byte)
    notes = (*data.notes, *_notes(run, search, data, verdicts))
    return Adaptation(version, data, search, verdict, steps, seconds, notes)


def metrics_of(steps: int, before: Measures, after: Measures) -> dict[str, float | None]:
    """The numbers that a version stores of what was measured."""
    numbers: dict[str, float | None] = {"steps": steps, "accuracy": finite(after.new.accuracy)}
    numbers |= {"loss_before": finite(before.new.loss), "loss_after": finite(after.new.loss)}
    if before.earlier and after.earlier:
        numbers |= {"earlier_before": before.earlier.loss, "earlier_after": after.earlier.loss}
    return numbers


def version_of(
    run: Run,
    data: UserExamples,
    state: UserState,
    metrics: Mapping[str, float | None],
    bits_per_byte: BitsPerByte = NOT_MEASURED,
    job: str = "",
) -> Version:
    """The version of a state that a run adapted."""
    base = run.setup.base
    return Version(
        state=state,
        layout=run.layout,
        base_family=base.family,
        base_name=base.name,
        base_weights=base.weights,
        run=run.fingerprint or None,
        examples=len(data.new),
        labels=data.labels,
        metrics=metrics,
        description=data.description,
        origin=run.origin(data.form),
        bits_per_byte=bits_per_byte,
        job=job,
    )


def _notes(run: Run, search: StepSearch, data: UserExamples, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """What a user should know of the steps taken."""
    steps = search.candidates[len(verdicts) - 1]
    seen = len(data.sample)
    if steps and seen < len(data.available):
        count = f"{seen} of {len(data.available)} examples"
        yield f"the steps see {count} (class means include all); melpa meta-train makes use of many"
    if data.memory and not run.trained_on_streams:
        yield CHANGED if steps else UNCHANGED
    if len(verdicts) > 1 and verdicts[-1].keeps_earlier:
        lost = verdicts[-2].forgotten
        yield f"{search.steps} steps are best for the new examples; {steps} are taken, to keep {lost}"


def _fields(fit: Fit | None) -> dict[str, float | None] | None:
    return None if fit is None else fit._asdict()
