"""Runs that nothing was meta-trained for: a base with an adapter at a random start."""

from pathlib import Path
from typing import Any

from ..config.build import compose, on_backend
from ..config.recipe import recipe_of
from ..errors import StoreError
from .run import Run

RANK, RATE = 8, 3e-3


def random_run(model: str, labelled: bool, backend: str | None = None) -> Run:
    """A run that was never trained: LoRA of rank 8 from a random start, adapted by Adam."""
    adapter = {"kind": "lora", "rank": RANK, "scale": 2.0}
    # A metric of d x d numbers is for meta-training: ten examples can't tell what it should be.
    readout: Any = {"kind": "ridge", "metric": "plain"} if labelled else "completion"
    return _bare(model, adapter, readout, backend)


def _bare(model: str, adapter: dict[str, Any], readout: str | dict[str, Any], backend: str | None) -> Run:
    tree = {"model": model, "adapter": adapter, "tasks": {"kind": "synthetic"}, "readout": readout}
    tree |= {"rule": {"kind": "adam", "lr": RATE}, "learner": {"kind": "fomaml", "steps": 5}}
    composed = compose(on_backend(recipe_of(tree, "random start"), backend))
    base = composed.base
    info = {"name": "random start", "base": {"name": base.name, "family": base.family, "weights": base.weights}}
    return Run(Path("random start"), composed, composed.begin(0), info, "")


def _untrained(model: str, metrics: Any, whose: str, backend: str | None) -> Run:
    if not metrics.get("adapter"):
        raise StoreError(f"{whose} has no run and names no adapter; import it again with: melpa import")
    return _bare(model, dict(metrics["adapter"]), metrics.get("readout") or "completion", backend)
