"""One person's adaptation: from their examples, and the version they had, to the next one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import numpy as np

from . import adapt
from .earlier import learned, merged, recall, unlearned
from .errors import DataError
from .evaluate import chunks
from .folds import Fit, curve, deal, remembering
from .look import check, distinct
from .problems.language import classified
from .run import Run
from .store import Version
from .store.version import pack, unpack
from .types import Array, Episode, Example

ENOUGH = 8
"""With fewer examples nothing is cross-validated: the run's own number of steps is taken."""
MOST = 64
"""Examples that the steps see; the class means see all."""


@dataclass(frozen=True)
class Outcome:
    """What an adaptation came to.

    version: what to store. before, after: the fit to examples held out, where `folds` says in how many parts; with
    folds 0 the fit to the examples themselves. curve: held-out losses (nats) after 0, 1, ... steps. better: says
    whether the new version shall answer; `reason` says why. notes: what a person should know.
    """

    version: Version
    steps: int
    before: Fit
    after: Fit
    curve: tuple[float, ...]
    folds: int
    better: bool
    reason: str
    seconds: float
    notes: tuple[str, ...]


def adapt_person(
    run: Run,
    examples: Sequence[Example],
    *,
    previous: Version | None = None,
    steps: int | Literal["auto"] = "auto",
    seed: int = 0,
) -> Outcome:
    """Adapts to one person from their previous version, or else from the run's start.

    Examples that the previous version learned already stay part of the support, but nothing is measured on them. With
    8 new ones or more, 5-fold cross-validation in one pass measures every number of steps up to twice the run's (5 at
    least); "auto" takes the best. Then all examples train for that many steps. The outcome is not better, and the
    earlier version stays the answer, unless the held-out loss is below what there was: the previous version on the same
    examples, or the base model. For labelled examples of a new person it is a guess, log N or the share of the largest
    class, of which one has to be beaten: 0 steps count too, since their class means are an adaptation. Raises DataError
    for examples that don't fit the run, and where none is new.
    """
    began = perf_counter()
    ops, form, labels = run.composed.parts.ops, check(run, examples), merged(previous, examples)
    once = distinct(examples)
    new = unlearned(previous, once)
    rng = np.random.default_rng([seed, 2])
    used = _drawn(once, rng)
    folds = deal(used, set(new), labels, rng) if len(new) >= ENOUGH else []
    memory = recall(previous, labels)
    chosen, fits = _searched(run, folds, steps, previous, memory)
    before, after, rows = _trained(run, used, chosen, labels, previous, memory)
    state = {"rows": rows, "learned": learned(previous, new)}
    state |= _means(run, ops.array(run.rows(rows)), new, labels, memory)
    if folds:
        before, after = _before(run, folds, labels, previous, fits), fits[chosen]
    better, reason = _judged(before, after, len(folds), previous)
    seconds = perf_counter() - began
    numbers = {"steps": chosen, "loss_before": before.loss, "loss_after": after.loss, "accuracy": after.accuracy}
    about = {**numbers, "seconds": seconds, "folds": len(folds), "form": form}
    about |= {"backend": ops.name, **described(run)}
    version = version_of(run, state, labels, len(new), about)
    losses = tuple(fit.loss for fit in fits)
    notes = _notes(len(examples), len(once), len(new), len(used), previous)
    return Outcome(version, chosen, before, after, losses, len(folds), better, reason, seconds, notes)


def _searched(
    run: Run,
    folds: Sequence[Episode],
    steps: int | Literal["auto"],
    previous: Version | None,
    memory: Mapping[str, np.ndarray],
) -> tuple[int, list[Fit]]:
    """The number of steps to take, and the held-out fit after 0, 1, ... steps."""
    if not folds:
        return (run.steps if steps == "auto" else steps), []
    parts = run.composed.parts
    rows = None if previous is None else parts.ops.array(run.rows(previous.state["rows"]))
    most = max(2 * run.steps, 5) if steps == "auto" else steps
    fits = curve(parts, run.theta, folds, most, rows=rows, memory=memory, patient=steps == "auto")
    return (min(range(len(fits)), key=lambda k: fits[k].loss) if steps == "auto" else steps), fits


def _trained(
    run: Run,
    used: Sequence[Example],
    steps: int,
    labels: tuple[str, ...],
    previous: Version | None,
    memory: Mapping[str, np.ndarray],
) -> tuple[Fit, Fit, np.ndarray]:
    """The fit to the examples themselves before and after the steps, and the person's own numbers as stored."""
    parts = run.composed.parts
    support, _ = parts.problem.prepare([Episode("", tuple(used), tuple(used[:1]), labels)])
    support = remembering(parts, support, memory)
    if previous is None:
        start = adapt.begin(parts, run.theta, support)
    else:
        start = adapt.resume(parts, parts.ops.array(run.rows(previous.state["rows"])))
    adapted = adapt.adapt(parts, run.theta, support, steps, state=start)["rows"]
    own = run.composed.layout.stored(parts.ops.numpy(adapted)[0])[None]
    stored = unpack(pack({"rows": own}))["rows"]
    rows = parts.ops.array(run.rows(stored))
    before, after = (_fit(parts.problem.measure(r, support)) for r in (start["rows"], rows))
    return before, after, stored


def answer(run: Run, version: Version, examples: Sequence[Example]) -> np.ndarray:
    """Probabilities (n, N) of the version's labels for texts; raises DataError where it has none."""
    if not version.labels:
        raise DataError(
            f"version {version.number} of '{version.user}' writes text and has no labels; use melpa generate"
        )
    return _answer(run, version, examples, version.labels)


def described(run: Run) -> dict[str, Any]:
    """What opens a version again that no run made: its adapter and readout; nothing for one with a run."""
    if run.fingerprint:
        return {}
    resolved = run.composed.recipe.resolved
    return {"random_start": True, "adapter": resolved["adapter"], "readout": resolved["readout"]}


def _answer(run: Run, version: Version, examples: Sequence[Example], labels: tuple[str, ...]) -> np.ndarray:
    problem: Any = run.composed.parts.problem
    ops, memory = run.composed.parts.ops, recall(version, labels)
    rows = ops.array(run.rows(version.state["rows"]))
    given = {name: ops.array(value) for name, value in memory.items()}
    return np.concatenate([problem.answer(rows, part, labels, given) for part in chunks(examples, MOST)])


def _drawn(examples: list[Example], rng: np.random.Generator) -> list[Example]:
    """At most MOST examples, taking turns between labels."""
    if len(examples) <= MOST:
        return examples
    turn: Counter[str | None] = Counter()
    ranked = []
    for i in rng.permutation(len(examples)):
        turn[examples[i].label] += 1
        ranked.append((turn[examples[i].label], int(i)))
    return [examples[i] for _, i in sorted(ranked)[:MOST]]


def _notes(given: int, distinct: int, new: int, used: int, previous: Version | None) -> tuple[str, ...]:
    notes = []
    if distinct < given:
        notes.append(f"{given - distinct} of {given} examples are there twice and count once")
    if previous is not None and new < distinct:
        notes.append(
            f"version {previous.number} has learned {distinct - new} of {distinct} examples already: they count no more"
        )
    if used < distinct:
        notes.append(
            f"the steps see {used} of {distinct} examples (class means see all); melpa meta-train makes use of many"
        )
    return tuple(notes)


def _means(
    run: Run, rows: Array, examples: Sequence[Example], labels: tuple[str, ...], memory: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The class means (N, d) of all examples so far, fp16, and their counts (N,); nothing if a readout keeps none."""
    problem: Any = run.composed.parts.problem
    if not labels:
        return {}
    kept = [memory] if memory else []
    kept += [problem.remember(rows, part, labels) for part in chunks(examples, MOST)]
    if not kept[-1]:
        return {}
    sums, counts = (np.sum([k[name][0] for k in kept], axis=0) for name in ("prior", "known"))
    return {"means": (sums / np.maximum(counts, 1)[:, None]).astype(np.float16), "counts": counts.astype(np.int32)}


def _before(
    run: Run, folds: Sequence[Episode], labels: tuple[str, ...], previous: Version | None, fits: Sequence[Fit]
) -> Fit:
    """How well what there was fits the examples that the folds ask about."""
    if previous is None and labels:
        counts = Counter(e.label for fold in folds for e in fold.query)
        return Fit(float(np.log(len(labels))), max(counts.values()) / counts.total())
    if previous is None:
        base = run.composed.parts.ops.array(run.composed.layout.draw(np.random.default_rng(0))[None])
        return curve(run.composed.parts, run.theta, folds, 0, rows=base)[0]
    if "means" not in previous.state:
        return fits[0]
    asked = [e for fold in folds for e in fold.query]
    onehot = np.array([[label == e.label for label in labels] for e in asked], np.float32)
    found = _answer(run, previous, asked, labels)
    return _fit(classified(found[None], onehot[None], np.ones((1, len(asked)))))


def _fit(measures: Mapping[str, np.ndarray]) -> Fit:
    accuracy = measures.get("accuracy")
    return Fit(float(measures["loss"][0]), None if accuracy is None else float(accuracy[0]))


def _judged(before: Fit, after: Fit, folds: int, previous: Version | None) -> tuple[bool, str]:
    """Says whether the new version shall answer, and why."""
    if not folds:
        return True, f"with fewer than {ENOUGH} new examples none are held out"
    if previous is None and before.accuracy is not None and (after.accuracy or 0) > before.accuracy:
        return True, f"on examples held out {after.accuracy:.0%} are right, and {before.accuracy:.0%} by a guess"
    there = f"version {previous.number}" if previous else "the base model" if after.accuracy is None else "a guess"
    better = after.loss < before.loss
    is_ = "is" if better else "would be"
    return better, f"on examples held out the loss {is_} {after.loss:.3f}, and that of {there} is {before.loss:.3f}"


def version_of(
    run: Run, state: Mapping[str, np.ndarray], labels: tuple[str, ...], count: int, metrics: Mapping[str, Any]
) -> Version:
    """A version of a state that was adapted with a run; `count` is the number of examples."""
    base = run.composed.base
    return Version(
        state,
        run.composed.layout,
        base.family,
        base.name,
        base.weights,
        run.fingerprint or None,
        "adapt",
        count,
        labels,
        metrics,
    )
