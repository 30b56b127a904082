"""`melpa adapt-all`: all users of a file, in batches, over ranks where several were launched."""

from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from .console import command, json_out, note, out, progress
from .options import AllowOtherWeights, Backend, Json, Model, RunName, Steps, number_of_steps


@command
def adapt_all(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Examples of many users, with a field 'user'.")],
    run: RunName = None,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
    steps: Steps = "auto",
    backend: Backend = None,
    json: Json = False,
) -> None:
    """Adapt to all users of a file, in batches.

    A stopped job continues where it was when it is given again. A field `about` in the file describes users, for a run
    that reads descriptions.
    """
    from mlx_melpa.data.readers import read_examples
    from mlx_melpa.personal.many_users import adapt_all as adapt_users
    from mlx_melpa.personal.many_users import by_user, job_id
    from mlx_melpa.personal.resolve import BaseChoice, choose_run
    from mlx_melpa.store import Store

    records, wanted, began = read_examples(file), number_of_steps(steps), perf_counter()
    number = None if wanted == "auto" else wanted
    with ExitStack() as stack:
        store = stack.enter_context(Store())
        labelled = records[0].example.label is not None
        found = choose_run(store, labelled, run, BaseChoice(model, allow_other_weights, backend))
        rank, ranks = found.ops.ranks()
        users = by_user(found, records)
        job = job_id(found, users, number)
        advance = stack.enter_context(progress("users", len(users), json or rank > 0))
        own = store if rank == 0 else None
        results = list(adapt_users(found, users, own, job, steps=number, advance=advance))
    if rank:
        return
    left, seconds = [r for r in results if r.number is None], perf_counter() - began
    adapted, before = len(results) - len(left), len(users) - len(results)
    if json:
        counts = {"people": len(users), "adapted": adapted, "before": before}
        reasons = {r.user: r.reason for r in left}
        json_out({**counts, "left_out": reasons, "run": found.name, "seconds": seconds, "ranks": ranks, "job": job})
        return
    for one in left:
        note(f"'{one.user}' is left out: {one.reason}")
    earlier = f", {before} were adapted by an earlier start of this job" if before else ""
    out(f"Adapted {adapted} of {len(users)} users with run '{found.name}' in {seconds:.1f} s{earlier}.")
