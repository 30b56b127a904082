"""`melpa users`: stored versions and examples: list, show, roll back, prune, delete."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import agree, command, json_out, out, size, table, when
from .options import Json, Yes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlx_melpa.store import Store, Version

User = Annotated[str, typer.Argument(help="The user's id.", show_default=False)]

users = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@users.callback()
def main() -> None:
    """List, show, roll back, prune or remove stored adapters and examples."""


def _store() -> "Store":
    from mlx_melpa.store import Store

    return Store()


def _record(version: "Version") -> dict[str, object]:
    hidden = {"state", "layout", "origin", "bits_per_byte"}
    shown = {name: value for name, value in vars(version).items() if name not in hidden}
    shown |= {"origin": vars(version.origin), "bits_per_byte": vars(version.bits_per_byte)}
    return shown | {"made": when(version.made, iso=True), "parameters": version.parameters}


def _loss(metrics: "Mapping[str, float | None]") -> str | None:
    before, after = metrics.get("loss_before"), metrics.get("loss_after")
    return None if before is None or after is None else f"{before:.3g} to {after:.3g}"


@users.command("list")
@command
def list_(json: Json = False) -> None:
    """List all users with an adapter."""
    with _store() as store:
        found = store.users()
    if json:
        times = [
            {"created": when(p.created, iso=True), "updated": p.updated and when(p.updated, iso=True)} for p in found
        ]
        json_out([vars(p) | made for p, made in zip(found, times, strict=True)])
    elif not found:
        out("No users yet; run: melpa adapt --user me DATA")
    else:
        columns = ("user", "versions", "active", "bytes", "base", "last adapted")
        rows = [
            (p.user, p.versions, p.active, size(p.nbytes), p.base_name, p.updated and when(p.updated)) for p in found
        ]
        table(columns, rows)


@users.command()
@command
def show(
    user: User,
    version: Annotated[int | None, typer.Option(help="A version; the active one unless given.", min=1)] = None,
    json: Json = False,
) -> None:
    """Show one version: its base, run, labels, size and numbers."""
    import shlex

    from mlx_melpa.errors import StoreError

    with _store() as store:
        number = version or next((v.number for v in store.history(user) if v.active), None)
        if number is None:
            raise StoreError(f"'{user}' has no active version; run: melpa users history {shlex.quote(user)}")
        found, stored = store.get(user, number), store.stored_examples(user)
    arrays = {name: f"{array.dtype} {list(array.shape)}" for name, array in found.state.arrays().items()}
    if json:
        json_out(_record(found) | {"arrays": arrays, "examples_kept": len(stored.examples)})
        return
    bits = {"base": found.bits_per_byte.base, "version": found.bits_per_byte.version}
    rows = {
        "user": found.user,
        "version": f"{found.number}{' (active)' if found.active else ''}",
        "made": f"{when(found.made)}, {found.kind}" + (f" from {found.parent}" if found.parent else ""),
        "examples": found.examples,
        "base": f"{found.base_name} ({found.base_family})",
        "weights": found.base_weights,
        "run": found.run or "none",
        "labels": ", ".join(found.labels) or "none",
        "description": found.description or "none",
        "examples stored": f"{len(stored.examples)} of at most {stored.size}" if stored.size else "none",
        "parameters": f"{found.parameters:,}",
        "bytes": size(found.nbytes),
        "arrays": "; ".join(f"{name} {text}" for name, text in arrays.items()),
        **{name: value for name, value in vars(found.origin).items() if value is not None},
        **found.metrics,
        **{f"bits per byte, {name}": value for name, value in bits.items() if value is not None},
    }
    table(("", ""), rows.items())


@users.command()
@command
def history(user: User, json: Json = False) -> None:
    """Show every version of one user, oldest first; * marks the active one."""
    with _store() as store:
        versions = store.history(user)
    if json:
        json_out([_record(v) for v in versions])
        return
    columns = ("no.", "made", "kind", "from", "bytes", "examples", "steps", "loss")
    rows = [
        (
            *(f"{v.number}{' *' if v.active else ''}", when(v.made), v.kind, v.parent, size(v.nbytes), v.examples),
            *(v.metrics.get("steps"), _loss(v.metrics)),
        )
        for v in versions
    ]
    table(columns, rows)


@users.command()
@command
def rollback(
    user: User, version: Annotated[int, typer.Argument(help="The version to go back to.", min=1)], json: Json = False
) -> None:
    """Make an earlier version active again; nothing is lost."""
    with _store() as store:
        number = store.rollback(user, version)
    if json:
        json_out({"user": user, "version": number, "source": version})
    else:
        out(f"Version {version} of '{user}' is active again, as version {number}.")


@users.command()
@command
def prune(
    user: User,
    keep: Annotated[int, typer.Option(help="How many of the newest versions stay.", min=1)] = 3,
    json: Json = False,
) -> None:
    """Delete old versions; the active one always stays."""
    with _store() as store:
        gone = store.prune(user, keep)
    if json:
        json_out({"user": user, "deleted": gone})
    else:
        out(f"Deleted {len(gone)} of the versions of '{user}'.")


@users.command()
@command
def remove(user: User, yes: Yes = False, json: Json = False) -> None:
    """Delete a user and every byte stored for them."""
    with _store() as store:
        count = len(store.history(user))
        what = "one version" if count == 1 else f"{count} versions"
        agree(f"Delete '{user}' and {what} for good?", yes, "nothing deleted")
        store.remove(user)
    if json:
        json_out({"user": user, "deleted": count})
    else:
        out(f"Deleted '{user}' and {count} versions.")


@users.command()
@command
def examples(user: User, json: Json = False) -> None:
    """List a user's stored examples (melpa adapt --store-examples N)."""
    import shlex

    with _store() as store:
        store.history(user)  # raises for an unknown user
        stored = store.stored_examples(user)
    if json:
        json_out([example.fields for example in stored.examples])
    elif not stored.examples:
        out(f"None are stored; to store up to 50: melpa adapt --user {shlex.quote(user)} DATA --store-examples 50")
    else:
        rows = [(e.label, " / ".join(e.texts)) for e in stored.examples]
        table(("label", "text"), rows, title=f"{len(rows)} of at most {stored.size}, out of {stored.seen}")


@users.command("forget-examples")
@command
def forget_examples(user: User, yes: Yes = False, json: Json = False) -> None:
    """Delete every byte of a user's stored examples; the versions stay."""
    with _store() as store:
        store.history(user)  # raises for an unknown user
        count = len(store.stored_examples(user).examples)
        agree(f"Delete the {count} stored examples of '{user}' for good?", yes, "nothing deleted")
        store.forget_examples(user)
    if json:
        json_out({"user": user, "deleted": count})
    else:
        out(f"Deleted {count} stored examples of '{user}'; the versions stay.")
