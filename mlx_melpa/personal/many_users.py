"""Many people from one file: those new to the run in batches, shared over ranks; rank 0 stores, each exactly once."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..core import inner_loop as adapt
from ..core.class_means import averaged, recall
from ..core.microbatches import chunks
from ..core.types import Episode, Example
from ..errors import DataError, MelpaError
from ..store import Store, Version
from ..store.run import Run
from ..store.version import pack, unpack
from .adaptation import MOST, adapt_person, closed
from .cross_validation import begin, measured
from .examples import check, distinct
from .history import learned, merged
from .result import described, version_of

People = Mapping[str, Sequence[Example]]
DIVERGED = "the adapted row holds numbers that are not finite; adapt again with fewer --steps"


@dataclass(frozen=True)
class Told:
    """What became of one person: the number of the version, or why there is none."""

    user: str
    number: int | None
    reason: str = ""


def adapt_people(
    run: Run,
    people: People,
    store: Store | None,
    order: str,
    *,
    steps: int | None = None,
    about: Mapping[str, str] = {},
    people_per_pass: int = 32,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Told]:
    """Adapts everyone who has no version by this `order` yet, and yields what became of them (on rank 0 alone).

    `store` is rank 0's; the others give None. A stopped order is begun again with the same name: a version is stored
    together with it. Those without a version and with at most 64 examples go in passes of `people_per_pass`, for the
    run's own number of steps unless `steps` is given, as one person with fewer than 8 examples does; then the others
    one by one, as `adapt_person` does. What can't be adapted is told with the reason and holds up nobody.
    `about` describes users, for a run that begins from descriptions.
    """
    ops = run.composed.parts.ops
    rank, ranks = ops.ranks()
    mine = json.dumps(_standing(store, order)).encode() if store else b""
    done, known = json.loads(ops.gather(mine)[0])
    waiting = {user: examples for user, examples in sorted(people.items()) if user not in set(done)}
    many, alone, refused = _divided(run, waiting, set(known), about)
    advance(len(people) - len(waiting))
    if store:
        yield from refused
    passes = list(chunks(many, people_per_pass))
    for at in range(0, len(passes), ranks):
        own = passes[at + rank] if at + rank < len(passes) else ()
        found = ops.gather(_packed(_adapted(run, own, steps, order)) if own else b"[]")
        for user, version in (item for part in found for item in _unpacked(run, part) if store):
            assert store is not None
            yield Told(user, store.put(user, version)) if version else Told(user, None, DIVERGED)
        advance(sum(len(p) for p in passes[at : at + ranks]))
    for user in alone if store else ():
        assert store is not None
        yield _by_itself(run, store, user, waiting[user], steps, order, about.get(user, ""))
        advance(1)


def _standing(store: Store, order: str) -> tuple[list[str], list[str]]:
    """Who has a version by this order, and who has any."""
    return sorted(store.with_order(order)), [summary.user for summary in store.users() if summary.versions]


class _Person:
    """One person on the way: distinct examples, labels and a description."""

    def __init__(self, run: Run, user: str, examples: Sequence[Example], about: str):
        self.user, self.form, self.about = user, check(run, examples), about
        self.labels = merged(None, examples)
        self.examples = tuple(distinct(examples))
        run.composed.readout.support([Episode("", self.examples, (), self.labels)])  # raises what it can't take


def _divided(
    run: Run, people: People, known: set[str], about: Mapping[str, str]
) -> tuple[list[_Person], list[str], list[Told]]:
    """Those for batches, of like size side by side; those to be adapted one by one; those refused."""
    many, alone, refused = [], [], []
    for user, examples in people.items():
        try:
            person = _Person(run, user, examples, about.get(user, ""))
        except DataError as error:
            refused.append(Told(user, None, str(error)))
            continue
        if user in known or len(person.examples) > MOST:
            alone.append(user)
        else:
            many.append(person)
    return sorted(many, key=lambda p: (len(p.labels), len(p.examples), p.user)), alone, refused


def _adapted(
    run: Run, people: Sequence[_Person], steps: int | None, order: str
) -> Iterator[tuple[_Person, dict[str, np.ndarray], dict[str, Any]]]:
    """States and numbers of one pass."""
    parts, chosen = run.composed.parts, run.steps if steps is None else steps
    problem: Any = parts.problem
    support = problem.support([Episode("", p.examples, (), p.labels, p.about) for p in people])
    start = begin(parts, run.theta, support)
    end = adapt.adapt(parts, run.theta, support, chosen, state=start)
    rows = parts.ops.numpy(end["rows"])
    # What is measured and what the means are made from are the person's own numbers as they will be stored, in fp16.
    own = [run.composed.layout.stored(row)[None] for row in rows]
    own = [unpack(pack({"rows": o}))["rows"] if np.isfinite(o).all() else o for o in own]
    whole = parts.ops.array(np.concatenate([run.rows(o) for o in own]))
    before, after = (problem.measure(r, support)["loss"] for r in (start["rows"], whole))
    kept = problem.memory(whole, support) if problem.readout.classifies else {}
    memory = {name: parts.ops.numpy(value) for name, value in kept.items()}
    for i, person in enumerate(people):
        state = {"rows": own[i], "learned": learned(None, person.examples)}
        if memory:
            state |= averaged(*(memory[name][i][: len(person.labels)] for name in ("prior", "known")))
        one = parts.ops.map_tree(lambda array, i=i: array[i : i + 1], {"rows": whole, "carry": end["carry"]})
        state |= closed(run, one, person.examples, person.labels, recall(state, person.labels))
        numbers: dict[str, Any] = {
            "steps": chosen,
            "loss_before": measured(float(before[i])),
            "loss_after": measured(float(after[i])),
            "folds": 0,
        }
        numbers |= {"form": person.form, "backend": parts.ops.name, "order": order, **described(run)}
        yield person, state, numbers


def _packed(found: Iterator[tuple[_Person, dict[str, np.ndarray], dict[str, Any]]]) -> bytes:
    told = []
    for person, state, numbers in found:
        finite = np.isfinite(state["rows"]).all()
        written = base64.b64encode(pack(state)).decode() if finite else None
        known = {"labels": person.labels, "count": len(person.examples), "numbers": numbers, "about": person.about}
        told.append({"user": person.user, **known, "state": written})
    return json.dumps(told).encode()


def _unpacked(run: Run, data: bytes) -> Iterator[tuple[str, Version | None]]:
    for told in json.loads(data):
        if told["state"] is None:
            yield told["user"], None
            continue
        state = unpack(base64.b64decode(told["state"]))
        labels, count, numbers = tuple(told["labels"]), told["count"], told["numbers"]
        yield told["user"], version_of(run, state, labels, count, numbers, told["about"])


def _by_itself(
    run: Run, store: Store, user: str, examples: Sequence[Example], steps: int | None, order: str, about: str
) -> Told:
    previous, kept, about = store.latest(user), store.kept(user).examples, about or store.about(user)
    if previous and (previous.run or "", previous.layout) != (run.fingerprint, run.composed.layout):
        previous = None
    try:
        chosen: int | Literal["auto"] = "auto" if steps is None else steps
        outcome = adapt_person(run, examples, previous=previous, steps=chosen, kept=kept, about=about)
    except MelpaError as error:
        return Told(user, None, str(error))
    version = replace(outcome.version, metrics={**outcome.version.metrics, "order": order})
    parent = previous.number if previous else None
    number = store.put(user, version, parent=parent, activate=outcome.better)
    return Told(user, number, "" if outcome.better else outcome.reason)
