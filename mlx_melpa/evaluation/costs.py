"""What a person costs: time, operations, numbers, bytes, memory, and what the base can still do, one at a time."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from ..config.build import Composition
from ..core import inner_loop as adapt
from ..core.class_means import averaged
from ..core.types import Batch, Episode, Tree
from ..store import UserState
from ..store.version import pack
from .baselines import frozen_features as frozen
from .baselines.in_context import InContext, Trial, of
from .flops import COUNTED, Work, flops, names, products
from .perplexity import general
from .timing import timed

COSTED = 5
"""Episodes that are measured, after one that warms up."""
PLAIN = 12
"""Episodes after which plain text is read."""


def of_steps(composed: Composition, theta: Tree, drawn: Sequence[Episode], steps: int) -> dict[str, Any]:
    """The costs of `steps` inner steps; medians over a few episodes, each alone, as for one person.

    seconds: from texts to the adapted row, and the class means where a readout has them. inference_ms: one more text
    read or labelled. nbytes: the row's own numbers as fp16, with the class means. memory: at the peak of the engine's
    arrays, the base among them. general: bits per byte of plain text under the adapted row, the mean over a few
    episodes. flops: see `counted`.
    """
    parts, problem = composed.parts, composed.parts.problem
    ops, found = parts.ops, []

    def whole(episode: Episode) -> tuple[Tree, Batch, Batch]:
        support = problem.support([episode])
        state = adapt.adapt(parts, theta, support, steps)
        memory = problem.memory(state["rows"], support)
        ops.evaluate(state["rows"], memory)
        return state, support, memory

    for episode in drawn[: COSTED + 1]:
        ops.reset_peak_memory()
        (state, support, memory), seconds = timed(partial(whole, episode))
        peak, asked = ops.peak_memory(), replace(episode, query=episode.query[:1])
        rows = state["rows"]
        _, answering = timed(lambda: problem.measure(rows, {**problem.questions([asked]), **memory}))  # noqa: B023
        own = problem.layout.stored(ops.numpy(rows)[0])[None] if steps else np.zeros((1, 0))
        means = averaged(*(ops.numpy(memory[name])[0] for name in ("prior", "known"))) if memory else {}
        nbytes = len(pack(UserState.from_arrays({"rows": own, **means}))) if steps or memory else 0
        one = {"seconds": seconds, "inference_ms": 1000 * answering, "nbytes": nbytes}
        found.append({**one, "memory": peak, "flops": counted(composed, support, steps, bool(memory))})
    able = [general(composed, whole(episode)[0]["rows"]) for episode in drawn[:PLAIN]]
    plain = {"general": _mean([value for value in able if value is not None])}
    return {**_medians(found), **plain, **_numbers(composed, problem.layout.personal.size if steps else 0)}


def on_features(name: str, settings: dict[str, Any], composed: Composition, drawn: Sequence[Episode]) -> dict[str, Any]:
    """The costs of a classifier on frozen features: reading the support and fitting; one more text's features.

    nbytes, as fp16: class means, weights and a bias for each class, or what else is kept: the features themselves.
    """
    ops, found = composed.parts.ops, []
    rows = composed.unchanged()
    for episode in drawn[: COSTED + 1]:
        ops.reset_peak_memory()

        def fit(episode: Episode = episode) -> frozen.Features:
            known = frozen.features(composed, rows, [replace(episode, query=())], {})
            middle = np.mean(list(known.values()), axis=0)
            frozen.measure(name, settings, [replace(episode, query=episode.support[:1])], known, middle)
            return known

        known, seconds = timed(fit)
        asked = Episode("", episode.query[:1], ())
        _, answering = timed(partial(frozen.features, composed, rows, [asked], {}))
        wide, ways = len(next(iter(known.values()))), len(episode.labels)
        numbers = ways * (wide + 1) if name == "logistic_regression" else 0
        kept = numbers or wide * (ways if name == "prototypes" else len(episode.support))
        one = {"seconds": seconds, "inference_ms": 1000 * answering, "nbytes": 2 * kept}
        support = composed.parts.problem.support([episode])
        found.append({**one, "memory": ops.peak_memory(), "flops": counted(composed, support, 0, True)})
    return {**_medians(found), "general": None, **_numbers(composed, numbers)}


def of_context(asker: InContext, drawn: Sequence[Episode], trial: Trial) -> dict[str, Any]:
    """The costs of examples in context: nothing is adapted, and each answer reads the examples.

    nbytes: the examples that a person's prompt holds, as UTF-8.
    """
    found: list[dict[str, Any]] = []
    for episode in drawn[: COSTED + 1]:
        asker.ops.reset_peak_memory()
        _, seconds = timed(partial(asker.both, episode, trial.examples))
        shown = [e for label in episode.labels or (None,) for e in of(episode, label)[: trial.examples]]
        one = {"inference_ms": 1000 * seconds / (len(episode.query) + asker.classifies)}
        found.append({**one, "nbytes": sum(e.nbytes for e in shown), "memory": asker.ops.peak_memory()})
    return {**_medians(found), "seconds": 0.0, "flops": 0, "general": None, "parameters": 0, "share": 0.0}


def _medians(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians of all but the first, which warmed up, where there are others."""
    kept = found[1:] or found
    told = {name: [one[name] for one in kept if one[name] is not None] for name in kept[0]}
    return {name: median(values) if values else None for name, values in told.items()}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _numbers(composed: Composition, count: int) -> dict[str, Any]:
    return {"parameters": count, "share": count / composed.base.parameters}


def counted(composed: Composition, support: Batch, steps: int, means: bool) -> int | None:
    """Matrix products of an adaptation (see `flops`): frozen blocks once, the steps, and the class means at the end.

    The base's, the adapter's and the head's alone are counted. None for families that are not COUNTED.
    """
    config, adapter = composed.base.config, composed.model.adapter
    if config.get("model_type") not in COUNTED:
        return None
    total, adapted = 0, names(composed.model.sites)
    for part in support["parts"]:
        sequences, length = part["tokens"].shape
        read = part["index"].shape[0] if "index" in part else 0
        work = Work(sequences, length, read, adapter, adapted)
        upper, whole = (forward(config, work, first) for first in (None, 0))
        total += (whole - upper if steps or means else 0) + steps * flops(products(config, work))
        total += upper if means else 0
    return total


def forward(config: Any, work: Work, first: int | None = None) -> int:
    """One pass of the frozen layers from block `first` on, the first adapted one unless given, without the head."""
    return flops(product for product in products(config, work, first) if product.name in ("linear", "attention"))
