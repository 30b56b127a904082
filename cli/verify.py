"""`melpa verify`: holds each learner's gradients against finite differences and definitions."""

from dataclasses import asdict, astuple, fields
from typing import Annotated

import typer

from .console import command, json_out, out, progress, table
from .options import Backend, Json, Seed, Sets


@command
def verify(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe whose parts are checked on its model; else every rule on a small network."),
    ] = None,
    sets: Sets = None,
    backend: Backend = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Compare each learner's gradients with finite differences and their definitions; exit 1 where one differs."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.config.build import on_backend
    from mlx_melpa.config.recipe import load_recipe
    from mlx_melpa.verification.suite import Check, check_all

    with progress("checking", quiet=json) as advance:
        read = on_backend(load_recipe(recipe, sets or ()), backend) if recipe else None
        checks = check_all(read, seed, advance, backend or "mlx")
    missed = [check for check in checks if not check.met]
    if json:
        json_out([asdict(check) for check in checks])
    else:
        columns = [field.name for field in fields(Check)]
        rows = [(*astuple(check), "met" if check.met else "not met") for check in checks]
        table((*(column.replace("_", " ") for column in columns), ""), rows)
        out(f"{len(missed)} of {len(checks)} checks are not met." if missed else f"All {len(checks)} checks are met.")
    if missed:
        raise typer.Exit(1)
