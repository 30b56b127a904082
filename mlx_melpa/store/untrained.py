"""Runs without meta-training: a base model with an adapter at a random start."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..config.build import compose, on_backend
from ..config.recipe import load_recipe
from ..errors import StoreError
from .run import Run
from .version import Origin

RANK, RATE, STEPS = 8, 3e-3, 5


def random_run(model: str, labelled: bool, backend: str | None = None) -> Run:
    """A run at a random start: LoRA of rank 8, adapted by Adam."""
    # A metric of d x d numbers needs meta-training: ten examples can't fit it.
    readout = {"kind": "ridge", "metric": "plain"} if labelled else {"kind": "completion"}
    return untrained_run(model, {"kind": "lora", "rank": RANK, "scale": 2.0}, readout, backend)


def run_of(origin: Origin, model: str, whose: str, backend: str | None) -> Run:
    """The run that opens a version which has none of its own. Raises StoreError if its origin names no adapter."""
    if not origin.adapter:
        raise StoreError(f"{whose} has no run and names no adapter; import it again with: melpa import")
    return untrained_run(model, origin.adapter, origin.readout or {"kind": "completion"}, backend)


def untrained_run(model: str, adapter: Mapping[str, object], readout: Mapping[str, object], backend: str | None) -> Run:
    """A run at a random start with an adapter and a readout of a recipe."""
    parts = {"model": model, "adapter": dict(adapter), "readout": dict(readout)}
    recipe = load_recipe("prepared", {**parts, "rule.lr": RATE, "learner.steps": STEPS})
    setup = compose(on_backend(replace(recipe, name="random start"), backend))
    base = setup.base
    info = {"name": "random start", "base": {"name": base.name, "family": base.family, "weights": base.weights}}
    return Run(Path("random start"), setup, setup.begin(0), info, "")
