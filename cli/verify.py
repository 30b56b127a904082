"""`melpa verify`: holds each learner's gradients against finite differences and definitions."""

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
    """Hold each learner's gradients against finite differences and their definitions; exit 1 where one misses."""
    import mlx_melpa.backends.mlx  # noqa: F401  (a fast BLAS first)
    from mlx_melpa.config.build import on_backend
    from mlx_melpa.config.recipe import load_recipe
    from mlx_melpa.verification.suite import sweep

    with progress("checking", quiet=json) as advance:
        read = on_backend(load_recipe(recipe, sets or ()), backend) if recipe else None
        found = sweep(read, seed, advance, backend or "mlx")
    missed = [entry for entry in found if not entry["relative_error"] <= entry["limit"]]
    if json:
        json_out(found)
    else:
        keys = ("learner", "stream", "rule", "regularizer", "initializer", "part", "against", "relative_error", "limit")
        table(
            (*(key.replace("_", " ") for key in keys), ""),
            [(*(e[k] for k in keys), "not met" if e in missed else "met") for e in found],
        )
        out(f"{len(missed)} of {len(found)} checks are not met." if missed else f"All {len(found)} checks are met.")
    if missed:
        raise typer.Exit(1)
