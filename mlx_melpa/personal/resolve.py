"""Which base, run and version a command means: by name, by the user's active version, or the newest run that fits."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..backends.checkpoints import located
from ..config.build import part_of
from ..core.types import Example
from ..errors import StoreError
from ..store import RunRecord, Store, Version
from ..store.run import Run, check_base, classifies, load_run, register
from ..store.untrained import random_run, run_of


@dataclass(frozen=True)
class BaseChoice:
    """The copy of the base model to use (default: the one recorded), and the backend, mlx or torch, to run it on.

    `other_weights` allows a copy with other weights, such as a quantized one.
    """

    model: str | None = None
    other_weights: bool = False
    backend: str | None = None


RECORDED = BaseChoice()


def load_user(
    store: Store, user: str, choice: BaseChoice = RECORDED, version: Version | None = None
) -> tuple[Run, Version]:
    """Loads the user's active version (or `version`) with its run, on the backend that made it by default.

    Raises StoreError if the user has none, or its run is gone or was trained again; ModelError for a wrong base.
    """
    version = version or store.latest(user)
    if version is None:
        store.history(user)  # raises for an unknown user
        raise StoreError(f"'{user}' has no active version; run: melpa users rollback {shlex.quote(user)} VERSION")
    backend = choice.backend or version.origin.engine
    whose = f"version {version.number} of '{version.user}'"
    model = located(choice.model or version.base_name)
    if version.run is None:
        run = run_of(version.origin, model, whose, backend)
    else:
        run = load_run(_folder(store, version.run, whose), model=model, other_weights=True, backend=backend)
    again = f"melpa adapt --user {shlex.quote(user)} DATA --run {shlex.quote(str(run.folder))}"
    if run.fingerprint != (version.run or ""):
        raise StoreError(f"{whose} needs run {version.run}, but {run.folder} was trained again since; run: {again}")
    check_base(run.setup.base, version.base, whose, choice.other_weights)
    if run.layout != version.layout:
        raise StoreError(f"{whose} has another layout than its run; adapt again with: {again}")
    return run.with_shared(version.state.shared), version


def resolve_adaptation(
    store: Store,
    user: str,
    examples: Sequence[Example],
    *,
    run: str | None = None,
    random_start: bool = False,
    choice: BaseChoice = RECORDED,
) -> tuple[Run, Version | None, tuple[str, ...]]:
    """The run to adapt with, the version to continue, and notes.

    The run is, in this order: the named one; a random start if asked for; that of the user's active version; the newest
    for the base (or for any) that takes such examples. Raises StoreError where there is none, with the ways to get one.
    """
    labelled = examples[0].label is not None
    previous = store.latest(user)
    if run is None and random_start:
        name = located(choice.model or (previous.base_name if previous else "pocket"))
        found = random_run(name, labelled, choice.backend)
    elif run is None and previous is not None:
        return *load_user(store, user, choice, previous), ()
    else:
        found = choose_run(store, labelled, run, choice)
    if previous is None:
        return found, None, ()
    readout = found.setup.recipe.resolved["readout"]
    same = previous.run is not None or previous.origin.readout in (None, readout)
    if same and (previous.run or "", previous.layout) == (found.fingerprint, found.layout):
        check_base(found.setup.base, previous.base, f"version {previous.number} of '{user}'", choice.other_weights)
        return found, previous, ()
    return found, None, (f"version {previous.number} of '{user}' belongs to another run: this one starts again",)


def choose_run(store: Store, labelled: bool, run: str | None = None, choice: BaseChoice = RECORDED) -> Run:
    """The named run, a folder or one that the store knows; or the newest for the base that takes such examples.

    The store records a folder that it did not know, so that later commands find it.
    """
    if run is None:
        return _newest(store, labelled, choice)
    path = run_folder(store, run)
    model = choice.model and located(choice.model)
    found = load_run(path, model=model, other_weights=choice.other_weights, backend=choice.backend)
    if found.fingerprint not in {known.fingerprint for known in store.runs()}:
        register(store, path)
    return found


def run_folder(store: Store, run: str) -> Path:
    """The folder of a run that is given by folder, or by a name or fingerprint that the store knows."""
    folder = Path(run).expanduser()
    return folder if folder.is_dir() else store.run(run).path


def finished_runs(store: Store, base_family: str | None = None) -> list[RunRecord]:
    """The runs that the store knows and that can be loaded, newest first; only those for one base family if given."""
    return [known for known in store.runs(base_family) if (known.path / "theta.safetensors").is_file()]


def _folder(store: Store, fingerprint: str, whose: str) -> Path:
    for known in store.runs():
        if known.fingerprint == fingerprint and (known.path / "run.json").is_file():
            return known.path
    raise StoreError(
        f"{whose} needs run {fingerprint}, which was moved or deleted; bring its folder back, or start again with: "
        "melpa adapt --run RUN"
    )


def _newest(store: Store, labelled: bool, choice: BaseChoice) -> Run:
    model, backend = choice.model, choice.backend
    base = None if model is None else part_of(backend or "mlx", "model").load(located(model))
    runs = finished_runs(store, base.family if base else None)
    for known in runs:
        if classifies(known.path) == labelled:
            # a base that is loaded already decides the backend
            backend = backend or ("mlx" if base else None)
            return load_run(known.path, base=base, other_weights=choice.other_weights, backend=backend)
    what = "labelled examples" if labelled else "text without labels"
    for_base = f" for base '{base.name}' ({base.family})" if base else ""
    there = f"; there are: {', '.join(r.name for r in runs)}" if runs else ""
    tasks = "" if labelled else " --tasks TEXTS"
    raise StoreError(
        f"no run{for_base} takes {what}{there}; make one with: melpa prepare {model or 'pocket'}{tasks}, or "
        "start untrained with --random-start"
    )
