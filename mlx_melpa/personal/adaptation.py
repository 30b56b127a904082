"""One person's adaptation: from their examples, and the version they had, to the next one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal

import numpy as np

from ..core import inner_loop as adapt
from ..core.class_means import alone, averaged, recall, remembering
from ..core.microbatches import chunks
from ..core.types import Array, Batch, Episode, Example, State
from ..store import Version
from ..store.run import Run
from ..store.version import pack, unpack
from .acceptance import ENOUGH, MARGIN, before_folds, fit, fit_of, forgets, judged, reached, standing
from .cross_validation import Fit, begin, curve, deal, measured
from .examples import check, distinct
from .history import carried, halves, learned, merged, taught, unlearned
from .result import Outcome, described, remarks, version_of

LONGEST = 4
"""Steps that the search for their number may always go up to."""
STAYS = "the row stays where earlier class means were made: the new examples add to the means, with no step"
MOVES = "steps move the row away from earlier class means: what was learned before may answer wrongly"
MOST = 64
"""Examples that the steps see, and kept ones beside them; the class means see all, and the temperature TOGETHER."""
TOGETHER = 1024
"""Examples that are remembered together; of more, ridge regression knows those before by their class means."""


def adapt_person(
    run: Run,
    examples: Sequence[Example],
    *,
    previous: Version | None = None,
    steps: int | Literal["auto"] = "auto",
    seed: int = 0,
    kept: Sequence[Example] = (),
    margin: float = MARGIN,
    about: str = "",
) -> Outcome:
    """Adapts to one person from their previous version, or else from the run's start.

    Of examples that the previous version learned already nothing is measured. They stay part of the support, but where
    it keeps class means: these hold them. With
    8 new ones or more, cross-validation with its folds in one pass measures every number of steps for as long as the
    held-out loss falls, up to twice the run's (LONGEST at least); "auto" takes the best. Then all examples train for
    that many steps. The outcome is not better, and the earlier version stays the answer, unless the held-out loss is
    below what there was: the previous version on the same examples, or the base model. For labelled examples of a new
    person it is a guess, log N or the share of the largest class, of which one has to be beaten: 0 steps count too,
    since their class means are an adaptation.

    Where the previous version keeps class means, "auto" takes no step: they were made under its row, and what moved
    away from it would be compared with them. Only a run that was trained on streams has learned to take steps then.

    Of the person's `kept` earlier examples one half is rehearsed, as part of the support. On the other half the loss
    may rise by `margin` nats at most: "auto" halves the number of steps until that holds, and where it never does the
    outcome is not better either. Where there is no previous version they are examples like the others. General ability,
    bits per byte of plain text, may become worse than the previous version's by as much.

    `about` describes the person, as the previous version does unless it is given: from there a new row begins where the
    run reads descriptions. Raises DataError for examples that don't fit the run, and where none is new.
    """
    began, given = perf_counter(), len(examples)
    if previous is None:
        examples, kept = [*examples, *(e for e in kept if (e.label is None) == (examples[0].label is None))], ()
    form, labels = check(run, examples), merged(previous, examples)
    told = about or (previous.about if previous else "")
    once = distinct(examples)
    new = unlearned(previous, once)
    rng = np.random.default_rng([seed, 2])
    at_hand = new if previous is not None and "means" in previous.state else once
    used, rehearsed, judging = (_drawn(part, rng) for part in (at_hand, *halves(taught(previous, kept), once, labels)))
    folds = deal([*used, *rehearsed], set(new), labels, rng, told) if len(new) >= ENOUGH else []
    memory = recall({} if previous is None else previous.state, labels, rehearsed)
    if steps == "auto" and memory and not run.in_turn:
        steps = 0
    best, fits = _searched(run, folds, steps, previous, memory)
    support = heard = _support(run, [*used, *rehearsed], labels, told, memory)
    if labels and len(at_hand) > len(used):
        heard = _support(run, [*_drawn(at_hand, rng, TOGETHER), *rehearsed], labels, told, memory)
    was = fit(run, previous.state, judging, labels) if previous is not None and judging else None
    tried = list(_fewer(best, 0 if labels else 1)) if previous is not None and steps == "auto" else [best]
    states = _trained(run, support, heard, tried, previous)
    stood = standing(run, previous, best > 0)
    for chosen in tried:
        rows, end = _as_stored(run, states[chosen], previous)
        state = {"rows": rows, **_means(run, end["rows"], [*new, *rehearsed], labels, memory)}
        earlier = (was, fit(run, state, judging, labels)) if was else None
        ability = stood._replace(after=reached(run, rows)) if chosen else stood
        if not (forgot := forgets(earlier, margin)) and not ability.worse(margin):
            break
        sake = "earlier ones" if forgot else "plain text"
    state |= {"learned": learned(previous, new), **closed(run, end, used, labels, recall(state, labels))}
    if folds:
        before, after = before_folds(run, folds, labels, previous, fits), fits[chosen]
    else:
        before, after = (fit_of(run.composed.parts.problem.measure(at["rows"], support)) for at in (states[0], end))
        if previous is not None and memory:
            before = fit(run, previous.state, used, labels)
    better, reason = judged(before, after, len(folds), previous, earlier, margin, ability)
    numbers: dict[str, Any] = {"steps": chosen, "accuracy": measured(after.accuracy)}
    numbers |= {"loss_before": measured(before.loss), "loss_after": measured(after.loss)}
    numbers |= {"earlier_before": earlier[0].loss, "earlier_after": earlier[1].loss} if earlier else {}
    numbers |= {"general_base": ability.base, "general": ability.after} if ability.after is not None else {}
    numbers |= {"seconds": perf_counter() - began, "folds": len(folds), "form": form}
    numbers |= {"backend": run.composed.parts.ops.name, **described(run)}
    version = version_of(run, state, labels, len(new), numbers, told)
    notes = remarks(len(examples), len(once), len(new), (len(used) if chosen else len(at_hand), len(at_hand)), previous)
    if memory and not run.in_turn:
        notes.append(STAYS if chosen == 0 else MOVES)
    if previous is not None and told != previous.about:
        notes.append(f"the description is kept for a new start; this version goes on from version {previous.number}")
    if len(examples) > given:
        notes.append(f"{len(examples) - given} examples kept from earlier count as today's: this version begins anew")
    if chosen < best and not forgets(earlier, margin):
        notes.append(f"{best} steps are best for today's examples; {chosen} are taken, for the sake of {sake}")
    return Outcome(
        version=version,
        steps=chosen,
        before=before,
        after=after,
        curve=tuple(fit.loss for fit in fits),
        folds=len(folds),
        better=better,
        reason=reason,
        seconds=numbers["seconds"],
        notes=tuple(notes),
        earlier=earlier,
        general=ability,
        judging=len(judging),
        rehearsed=len(rehearsed),
        new=tuple(new),
    )


def _fewer(steps: int, least: int) -> Iterator[int]:
    """A number of steps, then half of it and so on."""
    yield steps
    while steps > least:
        steps //= 2
        yield steps


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
    most = max(2 * run.steps, LONGEST) if steps == "auto" else steps
    start = {"rows": rows, "carried": carried(previous), "memory": memory}
    fits = curve(parts, run.theta, folds, most, **start, patient=steps == "auto")
    return (min(range(len(fits)), key=lambda k: fits[k].loss) if steps == "auto" else steps), fits


def _support(
    run: Run, examples: Sequence[Example], labels: tuple[str, ...], about: str, memory: Mapping[str, np.ndarray]
) -> Batch:
    """One person's examples as a batch, with what was kept of earlier ones."""
    parts = run.composed.parts
    return remembering(parts, parts.problem.support([Episode("", tuple(examples), (), labels, about)]), memory)


def _trained(
    run: Run, support: Batch, heard: Batch, wanted: Sequence[int], previous: Version | None
) -> dict[int, State]:
    """The states after each wanted number of steps, and the first."""
    parts = run.composed.parts
    rows = None if previous is None else parts.ops.array(run.rows(previous.state["rows"]))
    before = parts.ops.map_tree(parts.ops.array, carried(previous))
    start = begin(parts, run.theta, support, rows=rows, carried=before, heard=heard)
    found = {0: start}

    def watch(k: int, state: State) -> None:
        if k in wanted:
            found[k] = state

    adapt.adapt(parts, run.theta, support, max(wanted), state=start, watch=watch)
    return found


def _as_stored(run: Run, state: State, previous: Version | None) -> tuple[np.ndarray, State]:
    """A person's own numbers as they are stored, and the state with rows made of these.

    A row that came whole, by an import, stays whole: no run has what it shares.
    """
    ops, layout = run.composed.parts.ops, run.composed.layout
    row = ops.numpy(state["rows"])[0]
    imported = previous is not None and previous.state["rows"].shape[1] == layout.size
    stored = unpack(pack({"rows": (row if imported else layout.stored(row))[None]}))["rows"]
    return stored, {**state, "rows": ops.array(run.rows(stored))}


def closed(
    run: Run, end: State, examples: Sequence[Example], labels: tuple[str, ...], memory: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the regularizer carries to a person's next task, as a version's state holds it; `end` is of one row.

    Class means are held constant in the gradients of single examples.
    """
    parts = run.composed.parts

    left = adapt.end(parts, run.theta, end, lambda: alone(parts, examples, labels, memory))
    return {f"carry.{name}": parts.ops.numpy(value) for name, value in left.items()}


def _drawn(examples: list[Example], rng: np.random.Generator, most: int = MOST) -> list[Example]:
    """At most so many examples, taking turns between labels."""
    if len(examples) <= most:
        return examples
    turn: Counter[str | None] = Counter()
    ranked = []
    for i in rng.permutation(len(examples)):
        turn[examples[i].label] += 1
        ranked.append((turn[examples[i].label], int(i)))
    return [examples[i] for _, i in sorted(ranked)[:most]]


def _means(
    run: Run, rows: Array, examples: Sequence[Example], labels: tuple[str, ...], memory: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The class means (N, d) of all examples so far, fp16, and their counts (N,); nothing if a readout keeps none."""
    problem: Any = run.composed.parts.problem
    if not labels:
        return {}
    kept = memory
    mixed = np.random.default_rng(0).permutation(len(examples))
    for part in chunks([examples[i] for i in mixed], TOGETHER):
        kept = problem.remember(rows, part, labels, kept)
    return averaged(kept["prior"][0], kept["known"][0]) if kept else {}
