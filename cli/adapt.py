"""`melpa adapt`: from a person's examples to a stored version."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from .console import command, json_out, note, out, size, table
from .options import AllowOtherWeights, Json

if TYPE_CHECKING:
    from mlx_melpa.personal.examples import Look
    from mlx_melpa.personal.result import Outcome
    from mlx_melpa.store import Kept


@command
def adapt(
    data: Annotated[
        Path | None, typer.Argument(help="Examples: .jsonl, .csv or .txt, plain or .gz, or a folder of them.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose adapter this is.", show_default=False)] = None,
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Examples of many people, with a field 'user': all of them.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="What melpa prepare or meta-train made, by folder or name; the newest that fits.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="The base model, by hub name or folder.")] = None,
    allow_other_weights: AllowOtherWeights = False,
    steps: Annotated[str, typer.Option(help="A number of steps, or auto.")] = "auto",
    backend: Annotated[
        Literal["mlx", "torch"] | None, typer.Option(help="The engine; the run's own unless given.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Store up to N of the examples themselves, to rehearse and to judge by."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0, help="How much worse earlier kept examples (nats), plain text (bits/byte) may get; 0.1."),
    ] = None,
    about: Annotated[
        str, typer.Option(metavar="TEXT", help="Who this is, for runs that begin there; kept.", show_default=False)
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be learned from.")] = False,
    random_start: Annotated[bool, typer.Option("--random-start", help="Do without a meta-trained run.")] = False,
    json: Json = False,
) -> None:
    """Adapt to one person's examples, in seconds; or to everyone's in a file, in batches."""
    if users is not None:
        from .adapt_users import adapt_users

        alone = {"DATA": data, "--user": user, "--keep": keep, "--margin": margin, "--dry-run": dry_run}
        alone |= {"--random-start": random_start, "--about": about or None}
        adapt_users(users, alone, _steps(steps), run, base, allow_other_weights, backend, json)
        return
    if data is None or user is None:
        raise typer.BadParameter("give --user NAME and a file of their examples, or --users FILE for many people")
    from mlx_melpa.data.readers import read_examples
    from mlx_melpa.personal.acceptance import MARGIN
    from mlx_melpa.personal.adaptation import adapt_person
    from mlx_melpa.personal.examples import check_about, look
    from mlx_melpa.personal.resolve import to_adapt
    from mlx_melpa.store import Store, check_id

    user, wanted = check_id(user), _steps(steps)
    records = read_examples(data)
    examples = [record.example for record in records]
    groups = {record.group for record in records}
    with Store() as store:
        found, previous, notes = to_adapt(
            store,
            user,
            examples,
            run=run,
            base=base,
            other_weights=allow_other_weights,
            random_start=random_start,
            backend=backend,
        )
        if len(groups) > 1:
            notes += (f"{data} names {len(groups)} people; all of their examples are taken as those of '{user}'",)
        check_about(found, about)
        if not found.fingerprint:
            notes += ("this is a random start, not meta-learned: expect less of it than of a run",)
        if dry_run:
            _show_look(look(found, examples, previous), found.name, notes, json)
            return
        earlier, most = store.kept(user).examples, MARGIN if margin is None else margin
        told = about or store.about(user)  # a version that begins anew is of the same person
        outcome = adapt_person(found, examples, previous=previous, steps=wanted, kept=earlier, margin=most, about=told)
        number = store.put(
            user,
            outcome.version,
            parent=previous.number if previous else None,
            activate=outcome.better,
            # What was refused has not been learned; where nothing was before, the next try begins with it.
            keep=(keep, outcome.new) if keep and (outcome.better or previous is None) else None,
        )
        stored, kept = store.get(user, number), store.kept(user)
    answers = number if outcome.better else (previous.number if previous else None)
    done = _Done(outcome, user, number, answers, stored.nbytes, found.name, notes, kept)
    if json:
        json_out(_record(done))
    else:
        _show(done)


def _steps(text: str) -> Any:
    from mlx_melpa.errors import RecipeError

    if text == "auto" or (text.isdecimal() and int(text) <= 1000):
        return text if text == "auto" else int(text)
    raise RecipeError(f"--steps {text}: give auto, or a number from 0 to 1000")


class _Done(NamedTuple):
    """A stored adaptation: `answers` is the number of the version that answers now, if one does."""

    outcome: "Outcome"
    user: str
    number: int
    answers: int | None
    nbytes: int
    run: str
    notes: tuple[str, ...]
    kept: "Kept"


def _record(done: _Done) -> dict[str, Any]:
    outcome = done.outcome
    fits = dict(zip(("before", "after"), (fit._asdict() for fit in outcome.earlier or ()), strict=False))
    return {
        "user": done.user,
        "version": done.number,
        "answers": done.answers,
        "kept": outcome.better,
        "reason": outcome.reason,
        "run": done.run,
        "random_start": bool(outcome.version.metrics.get("random_start")),
        "steps": outcome.steps,
        **{name: outcome.version.metrics[name] for name in ("loss_before", "loss_after", "accuracy")},
        "earlier": {"examples": outcome.judging, **fits} if fits else None,
        "general": {**outcome.general._asdict(), "unchanged": outcome.steps == 0},
        "rehearsed": outcome.rehearsed,
        "examples_kept": len(done.kept.examples),
        "folds": outcome.folds,
        "curve": outcome.curve,
        "labels": outcome.version.labels,
        "seconds": outcome.seconds,
        "bytes": done.nbytes,
        "notes": [*done.notes, *outcome.notes],
    }


def _show(done: _Done) -> None:
    import shlex

    outcome, number, answers = done.outcome, done.number, done.answers
    unheld = (outcome.reason,) if outcome.better and not outcome.folds else ()
    for remark in (*done.notes, *outcome.notes, *unheld):
        note(remark)
    on = "examples held out" if outcome.folds else "the examples themselves"
    loss, accuracy = (outcome.version.metrics[name] for name in ("loss_after", "accuracy"))
    losses = f"{outcome.before.loss:.3f} before, {outcome.after.loss:.3f} after"
    losses = "not measured: each is its label's only one" if loss is None else losses
    rows: list[tuple[str, Any]] = [("run", done.run), (f"loss on {on}", losses)]
    if accuracy is not None:
        rows.append((f"accuracy on {on}", f"{accuracy:.0%}"))
    rows += [*_earlier(outcome, done.kept), *_general(outcome)]
    rows += [("steps", outcome.steps), ("seconds", f"{outcome.seconds:.2f}"), ("size", size(done.nbytes))]
    table(("", f"version {number} of '{done.user}'"), rows)
    name = shlex.quote(done.user)
    if not outcome.better:
        nothing = "nothing answers yet" if outcome.version.labels else "the base model stays the answer"
        stays = f"version {answers} stays the answer" if answers else nothing
        out(f"\n{stays}: {outcome.reason}.")
        out(f"Version {number} is kept aside; to take it all the same: melpa users rollback {name} {number}")
        return
    what = f'melpa label --user {name} "TEXT"' if outcome.version.labels else f'melpa generate --user {name} "PROMPT"'
    out(f"\nNext: {what}, or melpa export --user {name} --out DIR")


def _earlier(outcome: "Outcome", kept: "Kept") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    if outcome.earlier is not None:
        before, after = outcome.earlier
        on = f"on {outcome.judging} earlier examples"
        rows.append((f"loss {on}", f"{before.loss:.3f} before, {after.loss:.3f} after"))
        if before.accuracy is not None:
            rows.append((f"accuracy {on}", f"{before.accuracy:.0%} before, {after.accuracy:.0%} after"))
    if outcome.rehearsed:
        rows.append(("earlier examples rehearsed", outcome.rehearsed))
    if kept.size:
        rows.append(("examples kept", f"{len(kept.examples)} of at most {kept.size}"))
    return rows


def _general(outcome: "Outcome") -> list[tuple[str, Any]]:
    found, what = outcome.general, "plain text, bits per byte"
    if outcome.steps == 0:
        at = "" if found.after is None else f"{found.after:.3f}, "
        return [(what, f"{at}unchanged: no step was taken")]
    if found.after is None:
        return []
    before = "" if found.before == found.base else f"{found.before:.3f} before, "
    return [(what, f"{found.base:.3f} by the base, {before}{found.after:.3f} after")]


def _show_look(seen: "Look", run: str, notes: tuple[str, ...], json: bool) -> None:
    if json:
        json_out({**vars(seen), "run": run, "notes": notes})
        return
    for remark in notes:
        note(remark)
    rows: list[tuple[str, Any]] = [
        ("run", run),
        ("examples", f"{seen.examples} ({seen.form})"),
        ("there twice", seen.duplicates),
        ("longer than the limit, cut", f"{seen.cut} (limit {seen.limit} tokens)"),
        ("tokens read", seen.tokens),
        ("labels learned" if seen.labels else "tokens learned", seen.supervised),
    ]
    if seen.labels:
        rows += [("one text, two labels", seen.conflicts)]
        rows += [(f"label {label}", count) for label, count in sorted(seen.labels.items())]
    table(("", "dry run"), rows)
    if seen.single:
        out(f"\nOnly one example each: {', '.join(seen.single)}. Nothing is measured on those.")
    out("\nNothing was learned or stored; leave out --dry-run for that.")
