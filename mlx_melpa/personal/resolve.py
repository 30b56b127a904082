"""Which base, run and version an order is about: by name, by the person's last version, or the newest that fits."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backends.checkpoints import located
from ..config.build import part_of
from ..core.types import Example
from ..errors import StoreError
from ..store import Store, Version
from ..store.run import Run, check_base, classifies, describe, load_run
from ..store.untrained import _untrained, random_run


def opened(
    store: Store,
    user: str,
    *,
    base: str | None = None,
    other_weights: bool = False,
    version: Version | None = None,
    backend: str | None = None,
) -> tuple[Run, Version]:
    """The person's active version (or `version`) with all that answers for it, on its base or on another copy of it.

    `backend` is the engine to use, the one that made the version where none is given. Raises StoreError where the
    person has none, or its run is gone or was trained again; ModelError for a wrong base.
    """
    version = version or store.latest(user)
    if version is None:
        store.history(user)  # raises where there is no such person
        raise StoreError(f"'{user}' has no active version; run: melpa users rollback {shlex.quote(user)} VERSION")
    backend = backend or version.metrics.get("backend")
    whose = f"version {version.number} of '{version.user}'"
    model = located(base or version.base_name)
    if version.run is None:
        run = _untrained(model, version.metrics, whose, backend)
    else:
        run = load_run(_folder(store, version.run, whose), model=model, other_weights=True, backend=backend)
        if run.fingerprint != version.run:
            raise StoreError(
                f"{whose} needs run {version.run}, but {run.folder} was trained again since; run: "
                f"melpa adapt --user {shlex.quote(user)} DATA --run {shlex.quote(str(run.folder))}"
            )
    known = {"name": version.base_name, "family": version.base_family, "weights": version.base_weights}
    check_base(run.composed.base, known, whose, other_weights)
    if run.composed.layout != version.layout:
        again = f"melpa adapt --user {shlex.quote(user)} DATA --run {shlex.quote(str(run.folder))}"
        raise StoreError(f"{whose} has another layout than its run; adapt again with: {again}")
    return run, version


def to_adapt(
    store: Store,
    user: str,
    examples: Sequence[Example],
    *,
    run: str | None = None,
    base: str | None = None,
    other_weights: bool = False,
    random_start: bool = False,
    backend: str | None = None,
) -> tuple[Run, Version | None, tuple[str, ...]]:
    """The run to adapt with, the version to go on from, and notes.

    In this order: the run named; a random start where that is asked for; the run of the person's last version; the
    newest run for the base (or for any) that takes such examples. Raises StoreError where there is none, with the ways
    to get one.
    """
    labelled = examples[0].label is not None
    previous = store.latest(user)
    if run is not None:
        found = for_anyone(store, labelled, run=run, base=base, other_weights=other_weights, backend=backend)
    elif random_start:
        name = located(base or (previous.base_name if previous else "pocket"))
        found = random_run(name, labelled, backend)
    elif previous is not None:
        found, version = opened(store, user, base=base, other_weights=other_weights, version=previous, backend=backend)
        return found, version, ()
    else:
        found = for_anyone(store, labelled, base=base, other_weights=other_weights, backend=backend)
    if previous is None:
        return found, None, ()
    readout = found.composed.recipe.resolved["readout"]
    same = previous.run is not None or previous.metrics.get("readout", readout) == readout
    if same and (previous.run or "", previous.layout) == (found.fingerprint, found.composed.layout):
        known = {"name": previous.base_name, "family": previous.base_family, "weights": previous.base_weights}
        check_base(found.composed.base, known, f"version {previous.number} of '{user}'", other_weights)
        return found, previous, ()
    return found, None, (f"version {previous.number} of '{user}' is of another run: this one begins anew",)


def for_anyone(
    store: Store,
    labelled: bool,
    *,
    run: str | None = None,
    base: str | None = None,
    other_weights: bool = False,
    backend: str | None = None,
) -> Run:
    """The run named, a folder or one that the store knows, or the newest for the base that takes such examples.

    The store notes a folder that it did not know, so that what is adapted with it finds it again.
    """
    if run is None:
        return _newest(store, base, labelled, other_weights, backend)
    folder = Path(run).expanduser()
    path = folder if folder.is_dir() else store.run(run).path
    found = load_run(path, model=base and located(base), other_weights=other_weights, backend=backend)
    if found.fingerprint not in {known.fingerprint for known in store.runs()}:
        store.add_run(path.resolve().name, path, found.fingerprint, describe(path)["base"]["family"])
    return found


def _folder(store: Store, fingerprint: str, whose: str) -> Path:
    for known in store.runs():
        if known.fingerprint == fingerprint and (known.path / "run.json").is_file():
            return known.path
    raise StoreError(
        f"{whose} needs run {fingerprint}, which is not here any more; bring its folder back, or begin anew with: "
        "melpa adapt --run RUN"
    )


def _newest(store: Store, model: str | None, labelled: bool, other_weights: bool, backend: str | None) -> Run:
    base: Any = None if model is None else part_of(backend or "mlx", "model").load(located(model))
    runs = [r for r in store.runs(base.family if base else None) if (r.path / "theta.safetensors").is_file()]
    for known in runs:
        if classifies(known.path) == labelled:
            # a base that is loaded already decides the engine
            engine = backend or ("mlx" if base else None)
            return load_run(known.path, base=base, other_weights=other_weights, backend=engine)
    what = "labelled examples" if labelled else "text without labels"
    for_base = f" for base '{base.name}' ({base.family})" if base else ""
    there = f"; there are: {', '.join(r.name for r in runs)}" if runs else ""
    name = model or "pocket"
    tasks = "" if labelled else " --tasks TEXTS"
    raise StoreError(
        f"no run{for_base} takes {what}{there}; make one with: melpa prepare {name}{tasks}, or "
        "start untrained with --random-start"
    )
