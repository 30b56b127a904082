"""Time to quality: from a command to a stored adapter, beside mlx-lm's LoRA from scratch at its lowest held-out loss"""

import json
import tempfile
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ...core.types import Episode, Example
from ...tasks.synthetic import synthetic
from ..processes import Commands
from .interleaved import Worker
from .settings import Advance, Settings

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
STEPS, EVERY, WANTED = 200, 5, 0.1
"""mlx-lm's steps at each rate, how often its held-out loss is measured, and the share of its time that is wanted."""
SUPPORT, HELD = 20, 30
ADAPTER: dict[str, Any] = {"rank": 8, "scale": 20.0, "dropout": 0.0}
"""mlx-lm's own defaults: every linear layer of every block."""
RECIPE: dict[str, Any] = {
    "adapter": {"kind": "lora", "rank": 8, "scale": 2.0, "layers": 3},
    "tasks": {"kind": "synthetic", "variant": "style", "shots": 10, "queries": 10},
    "readout": {"kind": "completion", "max_length": 96},
    "rule": {"kind": "adam", "lr": 3e-3},
    "learner": {"kind": "fomaml", "steps": 5},
    "train": {
        "iterations": 60,
        "tasks_per_step": 3,
        "optimizer": {"kind": "adam", "lr": 1e-3},
        "schedule": "cosine",
        "validate_every": 60,
        "validation_episodes": 8,
    },
}
"""The run that adapts, where none is given: trained once, before the clock runs, on people the person is not among."""


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Seconds of `melpa adapt` and of mlx-lm's training, the held-out losses that they come to, and their ratio.

    mlx-lm's seconds are those from its start to the step where the held-out loss of its best rate is lowest, measured
    again beside each of ours; trying the rates is not counted. The same code measures both losses, in nats per token.
    """
    if "mlx-lm" not in settings.peers:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        advance(0, "time to quality: a run")
        run = commands.fitting(settings.run, recipe(settings), "run")
        person = synthetic(variant="style", shots=SUPPORT, queries=HELD).test.episode(np.random.default_rng(1))
        base, theirs = _theirs(settings, person, Path(folder), advance)
        best = min(theirs, key=lambda mark: mark["loss"])
        file = commands.write("notes.jsonl", person.support)
        ours, peer = [], []
        for i in range(settings.pairs):
            ours.append(commands.tell("adapt", "--user", f"user {i}", file, "--run", run))
            peer.append(_again(settings, Path(folder), best))
            advance(1, f"time to quality: {i + 1} of {settings.pairs}")
        loss = _stored_loss(commands, run, "user 0", person.query)
    seconds, theirs_in = median(seconds for seconds, _ in ours), median(peer)
    ratio = seconds / theirs_in
    return {
        "ours": seconds,
        "peer": theirs_in,
        "ratio": ratio,
        "pairs": [each / other for (each, _), other in zip(ours, peer, strict=True)],
        "unit": "s",
        "at_most": WANTED,
        "met": ratio <= WANTED and loss <= best["loss"],
        "adaptation": median(said["seconds"] for _, said in ours),
        "loss": {"ours": loss, "peer": best["loss"], "base": base},
        "kept": all(said["accepted"] for _, said in ours),
        "best": {"lr": best["lr"], "steps": best["steps"], "last": best["steps"] == theirs[-1]["steps"]},
        "curves": theirs,
    }


def recipe(settings: Settings) -> dict[str, Any]:
    """The recipe of the run that adapts; its short form trains one iteration."""
    train = {"iterations": 1, "tasks_per_step": 1, "validate_every": 1, "validation_episodes": 2}
    return {"model": settings.model, **RECIPE, **({"train": train} if settings.short else {})}


def _theirs(settings: Settings, person: Episode, folder: Path, advance: Advance) -> tuple[float, list[dict[str, Any]]]:
    """The base's held-out loss, and mlx-lm's at each rate and mark, with the seconds from its start to there."""
    from safetensors.numpy import load_file

    from ...config.build import compose
    from ...config.recipe import recipe_of
    from ...exports.common import block_names

    tree = {**recipe(settings), "adapter": {"kind": "lora", "rank": ADAPTER["rank"], "scale": ADAPTER["scale"]}}
    composed = compose(recipe_of(tree, "bench"))
    problem: Any = composed.parts.problem
    keys = sorted({site.path for site in composed.model.sites})
    described = {"num_layers": len(composed.base.blocks), "lora_parameters": {**ADAPTER, "keys": keys}}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    encoded = [problem.readout.tokens(example) for example in person.support]
    (folder / "examples.json").write_text(json.dumps([[list(tokens), spans[0][0]] for tokens, spans in encoded]))
    places = block_names(composed.base)
    names = {
        f"{places[site.layer]}.{site.path}.{leaf}": f"{site.name}.{leaf}"
        for site in composed.model.sites
        for leaf in ("lora_a", "lora_b")
    }
    steps, rates = (2 * EVERY, RATES[:1]) if settings.short else (STEPS, RATES)
    found = []
    began = perf_counter()
    with _worker(settings, folder) as worker:
        loading = perf_counter() - began
        for lr in rates:
            answer = worker.ask(lr=lr, steps=steps, every=EVERY)
            for seconds, k, file in zip(answer["seconds"], answer["steps"], answer["files"], strict=True):
                weights = {names[name]: array for name, array in load_file(file).items()}
                loss = _loss(problem, composed.layout.row(weights), person.query)
                if isfinite(loss):
                    found.append({"lr": lr, "steps": k, "seconds": loading + seconds, "loss": loss})
            advance(1, f"time to quality: mlx-lm at rate {lr:g}")
    return _loss(problem, composed.layout.draw(np.random.default_rng(0)), person.query), found


def _again(settings: Settings, folder: Path, best: dict[str, Any]) -> float:
    """The seconds of mlx-lm from its start to a mark."""
    began = perf_counter()
    with _worker(settings, folder) as worker:
        loading = perf_counter() - began
        answer = worker.ask(lr=best["lr"], steps=best["steps"], every=best["steps"])
    return loading + float(answer["seconds"][-1])


def _worker(settings: Settings, folder: Path) -> Worker:
    return Worker("finetune_mlx_lm", {"model": settings.model, "folder": str(folder)})


def _stored_loss(commands: Commands, run: str, user: str, examples: Sequence[Example]) -> float:
    """The held-out loss of what is stored for a person."""
    from ...store import Store
    from ...store.run import load_run

    loaded = load_run(run)
    with Store(commands.home) as store:
        version = store.get(user, 1)
    return _loss(loaded.composed.parts.problem, loaded.rows(version.state.rows)[0], examples)


def _loss(problem: Any, row: np.ndarray, examples: Sequence[Example]) -> float:
    """Nats per supervised token of examples under a row (P,)."""
    batch = problem.support([Episode("", tuple(examples), ())])
    return float(problem.measure(problem.ops.array(row[None]), batch)["loss"][0])


def draw(found: dict[str, Any], folder: Path) -> None:
    """Draws mlx-lm's held-out losses against its seconds, and ours, as FOLDER/time_to_quality.png."""
    from ...evaluation.plots import plot_race

    curves: dict[str, tuple[list[float], list[float]]] = {}
    for mark in found.get("curves", ()):
        seconds, losses = curves.setdefault(f"mlx-lm, rate {mark['lr']:g}", ([], []))
        seconds.append(mark["seconds"])
        losses.append(mark["loss"])
    plot_race(folder / "time_to_quality.png", curves, {"melpa adapt": (found["ours"], found["loss"]["ours"])})
