"""Adapts all users of a file: new users in batches that are split over ranks, the others one by one."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..core.microbatches import chunks
from ..core.types import Example
from ..data.readers import Record
from ..errors import DataError, MelpaError
from ..store import NOT_MEASURED, Store, check_id
from ..store.run import Run
from ..store.version import NOT_FINITE, pack, unpack
from .acceptance import Measures
from .adaptation import adapt_user
from .examples import MAX_SUPPORT, UserExamples, split_examples
from .predict import engine_rows
from .result import metrics_of, version_of
from .step_search import Steps
from .train import train


class UserData(NamedTuple):
    """What a file holds of one user."""

    examples: Sequence[Example]
    description: str = ""


Users = Mapping[str, UserData]


@dataclass(frozen=True)
class UserResult:
    """The result for one user: the number of the version, or the reason why there is none."""

    user: str
    number: int | None
    reason: str = ""


def by_user(run: Run, records: Sequence[Record]) -> dict[str, UserData]:
    """Groups a file's records by user; descriptions are kept for a run that uses them.

    Raises DataError for a record without a user.
    """
    users: dict[str, UserData] = {}
    for record in records:
        if record.group is None:
            raise DataError(f"{record.example.source}: names nobody; give each row a field 'user'")
        name = check_id(record.group)
        examples, description = users.get(name, UserData(()))
        read = record.description if run.uses_descriptions else ""
        users[name] = UserData((*examples, record.example), read or description)
    return users


def job_id(run: Run, users: Users, steps: int | None) -> str:
    """16 hex digits over users, examples, descriptions, run and steps: the same job has the same id."""
    examples = sorted((user, [e.content for e in data.examples]) for user, data in users.items())
    described = sorted((user, data.description) for user, data in users.items() if data.description)
    content = repr((examples, run.fingerprint, steps, *((described,) if described else ())))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def adapt_all(
    run: Run,
    users: Users,
    store: Store | None,
    job: str,
    *,
    steps: int | None = None,
    users_per_pass: int = 32,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[UserResult]:
    """Adapts all users who have no version of this `job` yet, and yields their results on rank 0.

    `store` is given on rank 0 only. A stopped job resumes under the same name, since each version stores it. Users
    without a version and with at most MAX_SUPPORT examples go in passes of `users_per_pass`, for `steps` or the run's
    own number, without folds. The others are adapted one by one on rank 0, as `adapt_user` does. A user whose examples
    don't fit is reported with the reason and stops nobody.
    """
    rank, ranks = run.ops.ranks()
    done, known = json.loads(run.ops.gather(json.dumps(_status(store, job)).encode() if store else b"")[0])
    waiting = {user: data for user, data in sorted(users.items()) if user not in set(done)}
    batched, single, refused = _divide(run, waiting, set(known))
    advance(len(users) - len(waiting))
    if store:
        yield from refused
    passes = list(chunks(list(batched.items()), users_per_pass))
    for at in range(0, len(passes), ranks):
        some = passes[at : at + ranks]
        gathered = run.ops.gather(_adapt_batch(run, dict(some[rank]), steps) if rank < len(some) else b"[]")
        for part, found in zip(some, gathered, strict=False):
            if store:
                yield from _store_batch(run, store, dict(part), found, job)
        advance(sum(map(len, some)))
    for user in single:
        if store:
            yield _adapt_single(run, store, user, waiting[user], steps, job)
            advance(1)


def _status(store: Store, job: str) -> tuple[list[str], list[str]]:
    """The users with a version of this job, and those with any."""
    return sorted(store.with_job(job)), [summary.user for summary in store.users() if summary.versions]


def _divide(run: Run, users: Users, known: set[str]) -> tuple[dict[str, UserExamples], list[str], list[UserResult]]:
    """Users for batches, of like size side by side; those to be adapted one by one; those refused."""
    batched: dict[str, UserExamples] = {}
    single, refused = [], []
    for user, (examples, description) in users.items():
        try:
            data = split_examples(run, examples, description=description)
            run.setup.readout.support([data.episode(data.available)])  # raises for what it can't take
        except DataError as error:
            refused.append(UserResult(user, None, str(error)))
            continue
        if user in known or len(data.new) > MAX_SUPPORT:
            single.append(user)
        else:
            batched[user] = replace(data, folds=())
    order = sorted(batched, key=lambda user: (len(batched[user].labels), len(batched[user].new), user))
    return {user: batched[user] for user in order}, single, refused


def _adapt_batch(run: Run, users: Mapping[str, UserExamples], steps: int | None) -> bytes:
    """States and metrics of one pass as JSON, in the users' order; null for a row that is not finite."""
    steps = run.steps if steps is None else steps
    trained = train(run, list(users.values()), (steps,))
    states = trained.states(steps)
    rows = (trained.at[0]["rows"], engine_rows(run, states))
    fits = [[Measures(fit, None, NOT_MEASURED) for fit in trained.fits(each)] for each in rows]
    found = [
        {"state": base64.b64encode(pack(state)).decode(), "metrics": metrics_of(steps, before, after) | {"folds": 0}}
        if state.finite
        else None
        for state, before, after in zip(states, *fits, strict=True)
    ]
    return json.dumps(found).encode()


def _store_batch(
    run: Run, store: Store, users: Mapping[str, UserExamples], found: bytes, job: str
) -> Iterator[UserResult]:
    for (user, data), one in zip(users.items(), json.loads(found), strict=True):
        if one is None:
            yield UserResult(user, None, NOT_FINITE)
            continue
        state = unpack(base64.b64decode(one["state"]))
        yield UserResult(user, store.put(user, version_of(run, data, state, one["metrics"], job=job)))


def _adapt_single(run: Run, store: Store, user: str, data: UserData, steps: int | None, job: str) -> UserResult:
    previous, stored = store.latest(user), store.stored_examples(user).examples
    if previous and (previous.run or "", previous.layout) != (run.fingerprint, run.layout):
        previous = None
    description = data.description or (store.description(user) if run.uses_descriptions else "")
    wanted: Steps = "auto" if steps is None else steps
    try:
        found = adapt_user(run, data.examples, previous=previous, steps=wanted, stored=stored, description=description)
    except MelpaError as error:
        return UserResult(user, None, str(error))
    version = replace(found.version, job=job)
    number = store.put(user, version, parent=previous.number if previous else None, activate=found.accepted)
    return UserResult(user, number, "" if found.accepted else found.verdict.reason)
