"""Meta-iterations per second, compared with PEFT in torch: FOMAML, and exact MAML on TorchOpt."""

import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from ...core.progress import Advance
from ...core.types import Json
from ...errors import MelpaError
from .fixtures import upper_half
from .interleaved import Worker, interleave
from .settings import Settings

GOAL = 2.0
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-3, 1e-3
"""Largest differences at the same start: of the query loss in nats, of the meta-gradient relative to its norm."""

SHORT: dict[str, object] = {"learner.steps": 2, "tasks.shots": 3, "tasks.queries": 3, "train.tasks_per_step": 2}
"""Changes of a recipe for little work."""


def measure(settings: Settings, advance: Advance) -> Json:
    """Ours and the peer's per learner: LoRA in the upper half of the blocks, on MLX and on torch, and in all blocks.

    Empty without the peer `peft`. Raises MelpaError if the two did different work.
    """
    if "peft" not in settings.peers:
        return {}
    half = upper_half(settings.model)
    cells: dict[str, dict[str, object]] = {
        f"{learner}{name}": {"learner.kind": learner, "adapter.layers": layers, "backend": backend}
        for name, layers, backend in (("", half, "mlx"), ("_on_torch", half, "torch"), ("_all_layers", "all", "mlx"))
        for learner in ("fomaml", "maml")
    }
    cells = dict(list(cells.items())[:2]) if settings.short else cells
    results = {}
    for name, cell in cells.items():
        changes = {**cell, **(SHORT if settings.short else {})}
        at_least = None if cell["adapter.layers"] == "all" else GOAL
        with tempfile.TemporaryDirectory() as folder:
            given = {"model": settings.model, "changes": changes, "folder": folder}
            results[name] = _compare(given, settings.repeats, at_least, advance)
    return results


def _compare(given: Json, repeats: int, at_least: float | None, advance: Advance) -> Json:
    with Worker("meta_iteration", given) as ours, Worker("meta_iteration_peft", given) as peer:
        differences = agreement(Path(given["folder"]), ours.ready["loss"], peer.ready["loss"])
        ratio = interleave(ours, peer, repeats, advance=advance)
        same = {name: ours.ready[name] for name in ("parameters", "steps")}
        return ratio.record("iterations/s", at_least, **same, **differences)


def agreement(folder: Path, ours: float, peer: float) -> dict[str, float]:
    """Differences of query loss and meta-gradient at the same start; raises MelpaError if one is too large."""
    mine, theirs = (load_file(folder / f"{name}.safetensors") for name in ("gradient", "gradient_peft"))
    if mine.keys() != theirs.keys():
        raise MelpaError(f"bench: PEFT adapts {len(theirs)} weights and we {len(mine)}: these are different sites")
    a, b = (np.concatenate([weights[name].reshape(-1) for name in sorted(mine)]) for weights in (mine, theirs))
    difference = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    if not (abs(ours - peer) <= LOSS_TOLERANCE and difference <= GRADIENT_TOLERANCE):
        raise MelpaError(
            f"bench: the two did not do the same work: query losses {ours:.6f} and {peer:.6f}, meta-gradients "
            f"{difference:.2g} of their norm apart"
        )
    return {"loss_difference": abs(ours - peer), "gradient_difference": difference}
