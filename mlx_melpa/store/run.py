"""A run on disk: runs/NAME/ with the resolved recipe, what identifies it, theta, and metrics."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from ..config.build import Setup, compose, load_base, on_backend
from ..config.kinds import kind_class
from ..config.recipe import Recipe, load_recipe
from ..core.atomic import replace as replace_file
from ..core.atomic import replace_text
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Components
from ..core.types import Json, Tree
from ..errors import ModelError, StoreError
from .store import Store
from .version import Origin

FORMAT = 1


@dataclass(frozen=True)
class Run:
    """A meta-trained run, ready to adapt. `info` is run.json; `fingerprint` names this very theta."""

    folder: Path
    setup: Setup
    theta: Tree
    info: Json
    fingerprint: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def steps(self) -> int:
        """The number of inner steps that the run was trained for; at least 1 for a user's adaptation."""
        return max(1, self.setup.learner.steps)

    @property
    def parts(self) -> Components:
        """What adapts: engine, problem, initializer, rule and regularizer."""
        return self.setup.parts

    @property
    def ops(self) -> Engine:
        """The operations of the run's engine."""
        return self.setup.parts.ops

    @property
    def problem(self) -> Any:
        """The problem that the run solves."""
        return self.setup.parts.problem

    @property
    def layout(self) -> Layout:
        """The layout of a row."""
        return self.setup.layout

    @property
    def trained_on_streams(self) -> bool:
        """True if the run was meta-trained on task streams (`train.stream` > 1)."""
        return self.setup.recipe.train.stream > 1

    @property
    def uses_descriptions(self) -> bool:
        """True if the run's hypernetwork reads a description of the user, alone or beside their examples."""
        return self.setup.recipe.context != "support"

    def origin(self, form: str) -> Origin:
        """The origin of a version that this run makes of examples of a form."""
        resolved = self.setup.recipe.resolved
        known = {} if self.fingerprint else {name: resolved[name] for name in ("adapter", "readout")}
        return Origin(engine=self.ops.name, form=form, **known)

    @property
    def shared(self) -> Tree:
        """What all users share: theta's part for the problem."""
        return self.theta["problem"]

    def acting(self, stored: np.ndarray) -> np.ndarray:
        """All weights in use (P',) under a user's stored numbers (1, P), in the order of the acting layout."""
        rows = self.ops.array(np.asarray(stored, np.float32))
        acting: np.ndarray = self.ops.numpy(self.problem.acting(rows, self.shared))[0]
        return acting

    def with_shared(self, shared: np.ndarray | None) -> "Run":
        """The run with the shared numbers (1, S) that came with an imported version, if any, in place of its own."""
        if shared is None:
            return self
        shared = self.ops.array(np.asarray(shared[0], np.float32))
        return replace(self, theta={**self.theta, "problem": {**self.theta["problem"], "shared": shared}})


def describe(folder: Path) -> Json:
    """Reads run.json; raises StoreError where the folder holds no run, or one of a later format."""
    path = folder / "run.json"
    if not path.is_file():
        raise StoreError(f"no run in {folder}; make one with: melpa meta-train RECIPE --out {folder}")
    try:
        info: Json = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} can't be read ({error}); train the run again") from error
    if info.get("format") != FORMAT:
        found = info.get("format")
        raise StoreError(f"{path} has format {found}, this version reads {FORMAT}; use the version that made it")
    return info


def register(store: Store, folder: Path) -> None:
    """Records a finished run in the store, so that `melpa adapt` finds it."""
    store.add_run(folder.resolve().name, folder, fingerprint(folder), describe(folder)["base"]["family"])


def write(folder: Path, recipe: Recipe, info: Json) -> None:
    """Writes recipe.yaml and run.json."""
    replace_text(folder / "recipe.yaml", recipe.dump())
    replace_text(folder / "run.json", json.dumps({"format": FORMAT, **info}, indent=1) + "\n")


def fingerprint(folder: Path) -> str:
    """16 hex digits over the recipe and the numbers of theta: a re-trained run is another run."""
    theta = folder / "theta.safetensors"
    if not theta.is_file():
        again = f"melpa meta-train RECIPE --out {folder} --resume"
        raise StoreError(f"the run in {folder} has no theta yet; finish it with: {again}")
    return hashlib.sha256((folder / "recipe.yaml").read_bytes() + theta.read_bytes()).hexdigest()[:16]


def load_run(
    folder: str | Path,
    *,
    base: Any = None,
    model: str | None = None,
    other_weights: bool = False,
    backend: str | None = None,
) -> Run:
    """Loads a finished or stopped run with its base, or with another copy of it (`model`, a name or folder).

    `backend` is the engine to use it on, its own where none is given. Raises StoreError without a run, ModelError where
    the base is of another family, or has other weights unless `other_weights` allows them.
    """
    folder = Path(folder)
    info = describe(folder)
    recipe = on_backend(load_recipe(folder / "recipe.yaml"), backend).with_readout(info["readout"] or "prototypes")
    base = base or load_base(recipe, model)
    if base is not None:
        check_base(base, info["base"], f"run '{folder.name}'", other_weights)
    setup = compose(recipe, base)
    acting = setup.problem.acting_layout
    # version 0.1 counted the code as a part of the layout
    if info.get("layout", acting.fingerprint) not in (acting.fingerprint, (acting + setup.layout).fingerprint):
        raise ModelError(
            f"run '{folder.name}' orders its row in another way than backend {recipe.backend} does for "
            f"'{base.name if base else recipe.name}'; use it with the backend that it was made with"
        )
    try:
        theta = _theta(folder / "theta.safetensors", setup)
    except (KeyError, RuntimeError) as error:
        path = folder / "theta.safetensors"
        raise StoreError(f"{path} does not fit its recipe ({error}); train the run again") from error
    return Run(folder, setup, theta, info, fingerprint(folder))


def _theta(path: Path, setup: Setup) -> Tree:
    """Reads theta; one that version 0.1 wrote has the shared numbers in the initializer's row."""
    ops, like = setup.ops, setup.begin(0)
    named = load_file(path)
    if like["problem"] and not any(name.startswith("problem.") for name in named):
        old = "mean" if setup.problem.decoder else "start"
        own, shared = setup.problem.acting_layout.divide(named.pop(f"initializer.{old}"))
        named[f"{'problem' if setup.problem.decoder else 'initializer'}.{old}"] = own
        named |= {"problem.shared": shared} if shared.size else {}
        named |= {"problem.basis": named.pop("initializer.basis")} if setup.problem.decoder else {}
    return ops.rebuild(like, [ops.array(named[name]) for name, _ in ops.flatten(like)])


def check_base(base: Any, known: dict[str, str], owner: str, other_weights: bool = False) -> None:
    """Refuses a base of another family than `known` names, and one with other weights unless that is allowed."""
    if base.family != known["family"]:
        raise ModelError(
            f"{owner} was made for base '{known['name']}' ({known['family']}), not for '{base.name}' ({base.family}), "
            f"which has another configuration or tokenizer; give --model {known['name']}"
        )
    if base.weights != known["weights"] and not other_weights:
        raise ModelError(
            f"{owner} was made for the weights {known['weights']} of '{known['name']}'; '{base.name}' has "
            f"{base.weights} (a quantized or converted copy?); allow that with --allow-other-weights"
        )


def save(folder: Path, name: str, ops: Engine, tree: Tree, metadata: dict[str, str] | None = None) -> None:
    """Writes a tree as FOLDER/NAME.safetensors, whole or not at all."""
    replace_file(folder / f"{name}.safetensors", lambda path: ops.save(path, tree, metadata))


def classifies(folder: Path) -> bool:
    """True if a run's readout gives labels."""
    kind = load_recipe(folder / "recipe.yaml").kind("readout") or describe(folder)["readout"]
    return kind_class("readout", kind).classifies
