"""Meta-iterations per second beside PEFT in torch, FOMAML and exact MAML, the latter on TorchOpt"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from ...errors import MelpaError
from .fixtures import upper_half
from .interleaved import Worker, alternate
from .settings import Advance, Settings

WANTED = 2.0
LOSS, GRADIENT = 1e-3, 1e-3
"""How far the two may differ at the same start: the query loss in nats, the meta-gradient relative to its norm."""


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Ours and the peer's per learner, LoRA in the upper half of the blocks as recipes have it, there on our torch
    engine too, and in all of the blocks.

    Nothing where the peer `peft` is not asked for. Raises MelpaError where both did not do the same work.
    """
    if "peft" not in settings.peers:
        return {}
    half = upper_half(settings.model)
    cells = {
        f"{learner}{name}": {"learner": learner, "layers": layers, "backend": backend}
        for name, layers, backend in (("", half, "mlx"), ("_on_torch", half, "torch"), ("_all_layers", "all", "mlx"))
        for learner in ("fomaml", "maml")
    }
    cells = dict(list(cells.items())[:2]) if settings.short else cells
    small = {"steps": 2, "shots": 3, "tasks": 2} if settings.short else {}
    found = {}
    for name, cell in cells.items():
        wanted = {"model": settings.model, **cell, **small}
        found[name] = _one(wanted, settings.pairs, None if cell["layers"] == "all" else WANTED, advance)
    return found


def _one(wanted: dict[str, Any], pairs: int, at_least: float | None, advance: Advance) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Worker("meta_iteration", {**wanted, "folder": folder}) as ours:
        with Worker("meta_iteration_peft", {**wanted, "folder": folder}) as peer:
            same = agreement(Path(folder), ours.about["loss"], peer.about["loss"])
            ratio = alternate(ours, peer, pairs, advance=advance)
        numbers = {"parameters": ours.about["parameters"], "steps": wanted.get("steps", 5), **same}
        return ratio.record("iterations/s", at_least, **numbers)


def agreement(folder: Path, ours: float, peer: float) -> dict[str, float]:
    """How far query loss and meta-gradient differ at the same start; raises MelpaError where too far."""
    mine, theirs = (load_file(folder / f"{name}.safetensors") for name in ("gradient", "gradient_peft"))
    if mine.keys() != theirs.keys():
        raise MelpaError(f"bench: PEFT adapts {len(theirs)} weights and we {len(mine)}: these are different sites")
    a, b = (np.concatenate([found[name].reshape(-1) for name in sorted(mine)]) for found in (mine, theirs))
    away = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    if not (abs(ours - peer) <= LOSS and away <= GRADIENT):
        raise MelpaError(
            f"bench: the two did not do the same work: query losses {ours:.6f} and {peer:.6f}, meta-gradients "
            f"{away:.2g} of their norm apart"
        )
    return {"loss_difference": abs(ours - peer), "gradient_difference": away}
