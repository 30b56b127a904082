"""Time to quality: from a command to a stored adapter, compared with mlx-lm's LoRA at its lowest held-out loss."""

import json
import tempfile
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ...config.recipe import Recipe
from ...core.progress import Advance
from ...core.types import Episode, Example, Json
from ...tasks.synthetic import synthetic
from ..processes import Commands
from .fixtures import recipe
from .interleaved import Worker
from .settings import Settings

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
STEPS, EVERY, GOAL = 200, 5, 0.1
"""mlx-lm's steps at each rate, steps between two measurements of its held-out loss, and the goal for the ratio."""
SUPPORT, HELD_OUT = 20, 30
ADAPTER: Json = {"rank": 8, "scale": 20.0, "dropout": 0.0}
"""mlx-lm's own defaults: every linear layer of every block."""
RUN: dict[str, object] = {
    "adapter.layers": 3,
    "readout.max_length": 96,
    "rule": {"kind": "adam", "lr": 3e-3},
    "train": {
        "iterations": 60,
        "tasks_per_step": 3,
        "optimizer": {"kind": "adam", "lr": 1e-3},
        "schedule": "cosine",
        "validate_every": 60,
        "validation_episodes": 8,
    },
}
"""The recipe of the run that adapts, where none is given. It is trained before the timing, on other people."""
SHORT = {"iterations": 1, "tasks_per_step": 1, "validate_every": 1, "validation_episodes": 2}


def measure(settings: Settings, advance: Advance) -> Json:
    """Seconds of `melpa adapt` and of mlx-lm's training, their ratio, and both held-out losses.

    mlx-lm's seconds go from its start to the step with the lowest held-out loss at its best rate. They are measured
    again after each of ours; the search for the rate is not counted. Both losses are in nats per token, by one code.
    """
    if "mlx-lm" not in settings.peers:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        advance(0, "time to quality: a run")
        run = commands.run_for(settings.run, run_recipe(settings), "run")
        person = synthetic(variant="style", shots=SUPPORT, queries=HELD_OUT).test.episode(np.random.default_rng(1))
        base, curves = _curves(settings, person, Path(folder), advance)
        best = min(curves, key=lambda mark: mark["loss"])
        file = commands.write("examples.jsonl", person.support)
        ours, peer = [], []
        for i in range(settings.repeats):
            ours.append(commands.tell("adapt", "--user", f"user {i}", file, "--run", run))
            peer.append(_again(settings, Path(folder), best))
            advance(1, f"time to quality: {i + 1} of {settings.repeats}")
        loss = _stored_loss(commands, run, "user 0", person.query)
    seconds, peer_seconds = median(seconds for seconds, _ in ours), median(peer)
    ratio = seconds / peer_seconds
    return {
        "ours": seconds,
        "peer": peer_seconds,
        "ratio": ratio,
        "pairs": [each / other for (each, _), other in zip(ours, peer, strict=True)],
        "unit": "s",
        "at_most": GOAL,
        "met": ratio <= GOAL and loss <= best["loss"],
        "adaptation": median(result["seconds"] for _, result in ours),
        "loss": {"ours": loss, "peer": best["loss"], "base": base},
        "kept": all(result["accepted"] for _, result in ours),
        "best": {"lr": best["lr"], "steps": best["steps"], "last": best["steps"] == curves[-1]["steps"]},
        "curves": curves,
    }


def run_recipe(settings: Settings, **changes: object) -> Recipe:
    """The recipe of the run that adapts; its short form trains one iteration."""
    return recipe(settings.model, {**RUN, **({"train": SHORT} if settings.short else {}), **changes})


def _curves(settings: Settings, person: Episode, folder: Path, advance: Advance) -> tuple[float, list[Json]]:
    """The base's held-out loss, and mlx-lm's at each rate and mark, with the seconds from its start."""
    from safetensors.numpy import load_file

    from ...config.build import compose
    from ...exports.common import block_names

    adapter = {"kind": "lora", "rank": ADAPTER["rank"], "scale": ADAPTER["scale"]}
    setup = compose(run_recipe(settings, adapter=adapter))
    problem: Any = setup.parts.problem
    keys = sorted({site.path for site in setup.model.sites})
    config = {"num_layers": len(setup.base.blocks), "lora_parameters": {**ADAPTER, "keys": keys}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    encoded = [problem.readout.tokens(example) for example in person.support]
    (folder / "examples.json").write_text(json.dumps([[list(tokens), spans[0][0]] for tokens, spans in encoded]))
    places = block_names(setup.base)
    names = {
        f"{places[site.layer]}.{site.path}.{leaf}": f"{site.name}.{leaf}"
        for site in setup.model.sites
        for leaf in ("lora_a", "lora_b")
    }
    steps, rates = (2 * EVERY, RATES[:1]) if settings.short else (STEPS, RATES)
    curves = []
    began = perf_counter()
    with _worker(settings, folder) as worker:
        loading = perf_counter() - began
        for lr in rates:
            answer = worker.ask(lr=lr, steps=steps, every=EVERY)
            for seconds, k, file in zip(answer["seconds"], answer["steps"], answer["files"], strict=True):
                weights = {names[name]: array for name, array in load_file(file).items()}
                loss = _loss(problem, setup.layout.row(weights), person.query)
                if isfinite(loss):
                    curves.append({"lr": lr, "steps": k, "seconds": loading + seconds, "loss": loss})
            advance(1, f"time to quality: mlx-lm at rate {lr:g}")
    return _loss(problem, setup.layout.draw(np.random.default_rng(0)), person.query), curves


def _again(settings: Settings, folder: Path, best: Json) -> float:
    """The seconds of mlx-lm from its start to the best mark."""
    began = perf_counter()
    with _worker(settings, folder) as worker:
        loading = perf_counter() - began
        answer = worker.ask(lr=best["lr"], steps=best["steps"], every=best["steps"])
    return loading + float(answer["seconds"][-1])


def _worker(settings: Settings, folder: Path) -> Worker:
    return Worker("finetune_mlx_lm", {"model": settings.model, "folder": str(folder)})


def _stored_loss(commands: Commands, run: str, user: str, examples: Sequence[Example]) -> float:
    """The held-out loss of a user's stored version."""
    from ...store import Store
    from ...store.run import load_run

    loaded = load_run(run)
    with Store(commands.home) as store:
        version = store.get(user, 1)
    return _loss(loaded.setup.parts.problem, version.state.rows[0], examples)


def _loss(problem: Any, row: np.ndarray, examples: Sequence[Example]) -> float:
    """Nats per supervised token of examples under a row (P,)."""
    batch = problem.support([Episode("", tuple(examples), ())])
    return float(problem.measure(problem.ops.array(row[None]), batch, {})["loss"][0])


def draw(result: Json, folder: Path) -> None:
    """Draws held-out losses over seconds, mlx-lm's and ours, as FOLDER/time_to_quality.png."""
    from ...evaluation.plots import plot_race

    curves: dict[str, tuple[list[float], list[float]]] = {}
    for mark in result.get("curves", ()):
        seconds, losses = curves.setdefault(f"mlx-lm, rate {mark['lr']:g}", ([], []))
        seconds.append(mark["seconds"])
        losses.append(mark["loss"])
    plot_race(folder / "time_to_quality.png", curves, {"melpa adapt": (result["ours"], result["loss"]["ours"])})
