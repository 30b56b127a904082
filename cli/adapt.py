"""`melpa adapt`: from a user's examples to a stored version."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from .console import command, json_out, note, out, size, table
from .options import AllowOtherWeights, Backend, Json, Model, RunName, Steps, User, number_of_steps

if TYPE_CHECKING:
    from mlx_melpa.personal.preview import Preview
    from mlx_melpa.personal.result import Adaptation
    from mlx_melpa.store import Reservoir

Row = tuple[str, object]


@command
def adapt(
    data: Annotated[Path, typer.Argument(help="Examples: .jsonl, .csv or .txt, plain or .gz, or a folder of them.")],
    user: User,
    run: RunName = None,
    model: Model = None,
    allow_other_weights: AllowOtherWeights = False,
    steps: Steps = "auto",
    backend: Backend = None,
    store_examples: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Store up to N of the examples, to replay and to check for forgetting."),
    ] = None,
    max_forgetting: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest allowed increase of the loss on stored examples (nats) and on general text (bits per byte). "
            "Default 0.1.",
        ),
    ] = None,
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="Who the user is, for runs that read it; stored.", show_default=False)
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be learned from.")] = False,
    random_start: Annotated[bool, typer.Option("--random-start", help="Do without a meta-trained run.")] = False,
    json: Json = False,
) -> None:
    """Adapt to one user's examples, in seconds."""
    from mlx_melpa.data.readers import read_examples
    from mlx_melpa.personal.acceptance import MAX_FORGETTING
    from mlx_melpa.personal.adaptation import adapt_user
    from mlx_melpa.personal.preview import preview
    from mlx_melpa.personal.resolve import BaseChoice, resolve_adaptation
    from mlx_melpa.store import Reservoir, Store, check_id

    user, wanted = check_id(user), number_of_steps(steps)
    records = read_examples(data)
    examples = [record.example for record in records]
    groups = {record.group for record in records}
    choice = BaseChoice(model, allow_other_weights, backend)
    with Store() as store:
        found, previous, notes = resolve_adaptation(
            store, user, examples, run=run, random_start=random_start, choice=choice
        )
        if len(groups) > 1:
            notes += (f"{data} names {len(groups)} users; all of their examples are taken as those of '{user}'",)
        if not found.fingerprint:
            notes += ("this is a random start, not meta-learned: expect less of it than of a run",)
        if dry_run:
            _show_preview(preview(found, examples, previous, description), found.name, notes, json)
            return
        known = store.description(user) if found.uses_descriptions else ""
        result = adapt_user(
            found,
            examples,
            previous=previous,
            steps=wanted,
            stored=store.stored_examples(user).examples,
            max_forgetting=MAX_FORGETTING if max_forgetting is None else max_forgetting,
            description=description or known,
        )
        # A rejected version has learned nothing; a user's first examples are stored all the same, for the next try.
        stores = store_examples and (result.accepted or previous is None)
        number = store.put(
            user,
            result.version,
            parent=previous.number if previous else None,
            activate=result.accepted,
            keep=Reservoir(store_examples or 0, result.data.new) if stores else None,
        )
        active = number if result.accepted else (previous.number if previous else None)
        done = _Stored(
            result, user, number, active, store.get(user, number).nbytes, found.name, notes, store.stored_examples(user)
        )
    if json:
        json_out(_record(done))
    else:
        _show(done)


class _Stored(NamedTuple):
    """A stored adaptation: `active` is the number of the user's active version, if there is one."""

    result: "Adaptation"
    user: str
    number: int
    active: int | None
    nbytes: int
    run: str
    notes: tuple[str, ...]
    examples: "Reservoir"


def _record(done: _Stored) -> dict[str, object]:
    found = done.result.to_json()
    return {
        "user": done.user,
        "version": done.number,
        "active_version": done.active,
        **found,
        "run": done.run,
        "examples_kept": len(done.examples.examples),
        "bytes": done.nbytes,
        "notes": [*done.notes, *done.result.notes],
    }


def _show(done: _Stored) -> None:
    result, verdict = done.result, done.result.verdict
    folds, metrics = result.data.folds, result.version.metrics
    for remark in (*done.notes, *result.notes, *((verdict.reason,) if verdict.accepted and not folds else ())):
        note(remark)
    on = "held-out examples" if folds else "the examples themselves"
    before, after = verdict.before.new, verdict.after.new
    losses = f"{before.loss:.3f} before, {after.loss:.3f} after"
    if metrics["loss_after"] is None:
        losses = "not measured: each is its label's only one"
    rows: list[Row] = [("run", done.run), (f"loss on {on}", losses)]
    if metrics["accuracy"] is not None:
        rows.append((f"accuracy on {on}", f"{metrics['accuracy']:.0%}"))
    rows += [*_earlier(result, done.examples), *_general(result)]
    rows += [("steps", result.steps), ("seconds", f"{result.seconds:.2f}"), ("size", size(done.nbytes))]
    table(("", f"version {done.number} of '{done.user}'"), rows)
    name, labels = shlex.quote(done.user), result.version.labels
    if verdict.accepted:
        what = f'melpa label --user {name} "TEXT"' if labels else f'melpa generate --user {name} "PROMPT"'
        out(f"\nNext: {what}, or melpa export --user {name} --out DIR")
        return
    without = "there is no active version yet" if labels else "the base model stays active"
    stays = f"version {done.active} stays active" if done.active else without
    out(f"\n{stays}: {verdict.reason}.")
    out(f"Version {done.number} is stored too; to activate it: melpa users rollback {name} {done.number}")


def _earlier(result: "Adaptation", examples: "Reservoir") -> Iterator[Row]:
    before, after = result.before.earlier, result.after.earlier
    if before is not None and after is not None:
        on = f"on {len(result.data.held_out)} earlier examples"
        yield f"loss {on}", f"{before.loss:.3f} before, {after.loss:.3f} after"
        if before.accuracy is not None:
            yield f"accuracy {on}", f"{before.accuracy:.0%} before, {after.accuracy:.0%} after"
    if result.data.replayed:
        yield "earlier examples replayed", len(result.data.replayed)
    if examples.size:
        yield "examples stored", f"{len(examples.examples)} of at most {examples.size}"


def _general(result: "Adaptation") -> Iterator[Row]:
    before, after = result.before.bits_per_byte, result.after.bits_per_byte
    what = "general text, bits per byte"
    if result.steps == 0:
        yield what, f"{'' if after.version is None else f'{after.version:.3f}, '}unchanged: no step was taken"
    elif after.version is not None:
        previous = "" if before.version == after.base else f"{before.version:.3f} before, "
        yield what, f"{after.base:.3f} by the base, {previous}{after.version:.3f} after"


def _show_preview(found: "Preview", run: str, notes: tuple[str, ...], json: bool) -> None:
    if json:
        json_out({**vars(found), "run": run, "notes": notes})
        return
    for remark in notes:
        note(remark)
    rows: list[Row] = [
        ("run", run),
        ("examples", f"{found.examples} ({found.form})"),
        ("duplicates", found.duplicates),
        ("longer than the limit, cut", f"{found.cut} (limit {found.limit} tokens)"),
        ("tokens read", found.tokens),
        ("labels learned" if found.labels else "tokens learned", found.supervised),
    ]
    if found.labels:
        rows += [("one text, two labels", found.conflicts)]
        rows += [(f"label {label}", count) for label, count in sorted(found.labels.items())]
    table(("", "dry run"), rows)
    if found.single:
        out(f"\nOnly one example each: {', '.join(found.single)}. Nothing is measured on those.")
    out("\nNothing was learned or stored; leave out --dry-run for that.")
