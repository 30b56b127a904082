"""`melpa adapt --users FILE`: everyone's examples in one file, in batches, over ranks where several were launched."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import typer

from .console import json_out, note, out, progress


def adapt_users(
    file: Path,
    alone: Mapping[str, Any],
    steps: int | Literal["auto"],
    run: str | None,
    base: str | None,
    other_weights: bool,
    backend: str | None,
    json: bool,
) -> None:
    """Adapts to all people of a file that this order has not reached yet, and says what it came to.

    `alone` are options that belong to one person; none may be given. A field `about` in the file describes people, for
    a run that begins from descriptions.
    """
    from mlx_melpa.data.readers import read_examples
    from mlx_melpa.errors import DataError
    from mlx_melpa.personal.many_users import adapt_people
    from mlx_melpa.personal.resolve import for_anyone
    from mlx_melpa.store import Store, check_id

    wrong = [name for name, value in alone.items() if value is not None and value is not False]
    if wrong:
        raise typer.BadParameter(f"--users takes everyone in its file; leave out {', '.join(wrong)}")
    people: dict[str, list[Any]] = {}
    about: dict[str, str] = {}
    for record in read_examples(file):
        if record.group is None:
            raise DataError(f"{record.example.source}: names nobody; give each row a field 'user'")
        user = check_id(record.group)
        people.setdefault(user, []).append(record.example)
        about |= {user: record.about} if record.about else {}
    labelled = next(iter(people.values()))[0].label is not None
    began = perf_counter()
    with ExitStack() as stack:
        store = stack.enter_context(Store())
        found = for_anyone(store, labelled, run=run, base=base, other_weights=other_weights, backend=backend)
        rank, ranks = found.composed.parts.ops.ranks()
        number = None if steps == "auto" else steps
        about = about if found.described else {}
        order = _order(people, about, found.fingerprint, number)
        advance = stack.enter_context(progress("people", len(people), json or rank > 0))
        own = store if rank == 0 else None
        told = list(adapt_people(found, people, own, order, steps=number, about=about, advance=advance))
    if rank:
        return
    kept, left = [t for t in told if t.number is not None], [t for t in told if t.number is None]
    seconds = perf_counter() - began
    if json:
        counts = {"people": len(people), "adapted": len(kept), "before": len(people) - len(told)}
        reasons = {t.user: t.reason for t in left}
        json_out({**counts, "left_out": reasons, "run": found.name, "seconds": seconds, "ranks": ranks, "order": order})
        return
    for one in left:
        note(f"'{one.user}' is left out: {one.reason}")
    before = len(people) - len(told)
    earlier = f", {before} were adapted by an earlier start of this order" if before else ""
    out(f"Adapted {len(kept)} of {len(people)} people with run '{found.name}' in {seconds:.1f} s{earlier}.")


def _order(people: Mapping[str, list[Any]], about: Mapping[str, str], fingerprint: str, steps: int | None) -> str:
    """Names what was asked for: the same people, examples, descriptions, run and steps are the same order."""
    told = sorted((user, [repr((e.text, e.target, e.label, e.messages)) for e in own]) for user, own in people.items())
    described = (sorted(about.items()),) if about else ()
    return hashlib.sha256(repr((told, fingerprint, steps, *described)).encode()).hexdigest()[:16]
