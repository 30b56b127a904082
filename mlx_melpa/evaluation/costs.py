"""The costs of one user: seconds, FLOPs, trained parameters, stored bytes, peak memory and perplexity on general text.

Each of a few episodes is measured alone, as for one user. Results have these keys: seconds, from texts to what is
stored; inference_ms, one more text read or labelled; nbytes, what is stored; memory, the peak of the engine's arrays in
bytes, with the base; flops, see `count_flops`; general, bits per byte of general text after the adaptation, or None;
parameters, the trained ones; share, of the base's.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np

from ..config.build import Setup
from ..core import inner_loop
from ..core.class_means import average
from ..core.types import Batch, Episode, Json, Tree
from ..store import UserState
from ..store.version import pack
from .baselines.frozen_features import Features, FeatureTask, features, measure
from .baselines.in_context import InContext, InContextSettings, of_label
from .flops import COUNTED, Work, flops, names, products
from .perplexity import general_ability
from .timing import timed

Costs = dict[str, float | None]
EPISODES = 5
"""Episodes that are measured, after one that warms up."""
GENERAL_EPISODES = 12
"""Episodes after which general text is read."""


def of_steps(setup: Setup, theta: Tree, drawn: Sequence[Episode], steps: int) -> Costs:
    """The costs of inner steps; nbytes are the row's own numbers as fp16, and the class means of a readout with them.

    Seconds and bytes are medians; `general` is a mean.
    """
    parts, problem = setup.parts, setup.parts.problem
    ops, found = parts.ops, []

    def adapt(episode: Episode) -> tuple[Tree, Batch, Batch]:
        support = problem.support([episode])
        state = inner_loop.adapt(parts, theta, support, steps)
        memory = problem.memory(state["rows"], support, theta["problem"])
        ops.evaluate(state["rows"], memory)
        return state, support, memory

    for episode in drawn[: EPISODES + 1]:
        ops.reset_peak_memory()
        (state, support, memory), seconds = timed(partial(adapt, episode))
        peak, single = ops.peak_memory(), replace(episode, query=episode.query[:1])
        rows = state["rows"]
        _, answering = timed(lambda: problem.measure(rows, {**problem.questions([single]), **memory}, theta["problem"]))  # noqa: B023
        personal = ops.numpy(rows) if steps else np.zeros((1, 0))
        means = average(*(ops.numpy(memory[name])[0] for name in ("class_sums", "class_counts"))) if memory else {}
        nbytes = len(pack(UserState.from_arrays({"rows": personal, **means}))) if steps or memory else 0
        one = {"seconds": seconds, "inference_ms": 1000 * answering, "nbytes": nbytes}
        found.append({**one, "memory": peak, "flops": count_flops(setup, support, steps, bool(memory))})
    after = [
        general_ability(setup, problem.acting(adapt(episode)[0]["rows"], theta["problem"]))
        for episode in drawn[:GENERAL_EPISODES]
    ]
    known = [value for value in after if value is not None]
    mean = {"general": float(np.mean(known)) if known else None}
    return {**_medians(found), **mean, **_parameters(setup, problem.layout.size if steps else 0)}


def of_classifier(name: str, settings: Json, setup: Setup, drawn: Sequence[Episode]) -> Costs:
    """The costs of a classifier on frozen features: reading the support and fitting; one more text's features.

    nbytes, as fp16: class means, or the weights and a bias of each class.
    """
    ops, found, numbers = setup.parts.ops, [], 0

    def fit(episode: Episode) -> Features:
        known = features(setup, [replace(episode, query=())], {})
        center = np.mean(list(known.values()), axis=0)
        measure(name, settings, [FeatureTask.of(replace(episode, query=episode.support[:1]), known, center)])
        return known

    for episode in drawn[: EPISODES + 1]:
        ops.reset_peak_memory()
        known, seconds = timed(partial(fit, episode))
        single = Episode("", episode.query[:1], ())
        _, answering = timed(partial(features, setup, [single], {}))
        width, ways = len(next(iter(known.values()))), len(episode.labels)
        numbers = ways * (width + 1) if name == "logistic_regression" else 0
        one = {"seconds": seconds, "inference_ms": 1000 * answering, "nbytes": 2 * (numbers or ways * width)}
        support = setup.parts.problem.support([episode])
        found.append({**one, "memory": ops.peak_memory(), "flops": count_flops(setup, support, 0, True)})
    return {**_medians(found), "general": None, **_parameters(setup, numbers)}


def of_context(context: InContext, drawn: Sequence[Episode], settings: InContextSettings) -> Costs:
    """The costs of examples in context: nothing is adapted, and each answer reads the examples.

    nbytes: the examples of a user's prompt, as UTF-8.
    """
    found: list[Costs] = []
    for episode in drawn[: EPISODES + 1]:
        context.ops.reset_peak_memory()
        _, seconds = timed(partial(context.measure_both, episode, settings.examples))
        shown = [e for label in episode.labels or (None,) for e in of_label(episode, label)[: settings.examples]]
        one = {"inference_ms": 1000 * seconds / (len(episode.query) + context.classifies)}
        found.append({**one, "nbytes": sum(e.nbytes for e in shown), "memory": context.ops.peak_memory()})
    return {**_medians(found), "seconds": 0.0, "flops": 0, "general": None, "parameters": 0, "share": 0.0}


def _medians(found: Sequence[Costs]) -> Costs:
    """Medians of all episodes but the first, which warmed up, if there are others."""
    kept = found[1:] or found
    values = {name: [value for one in kept if (value := one[name]) is not None] for name in kept[0]}
    return {name: median(each) if each else None for name, each in values.items()}


def _parameters(setup: Setup, count: int) -> Costs:
    return {"parameters": count, "share": count / setup.base.parameters}


def count_flops(setup: Setup, support: Batch, steps: int, means: bool) -> int | None:
    """FLOPs of an adaptation (see `flops`): the frozen blocks once, the steps, and the class means at the end.

    The base's, the adapter's and the head's alone are counted. None for families that are not COUNTED.
    """
    config, adapter = setup.base.config, setup.model.adapter
    if config.get("model_type") not in COUNTED:
        return None
    total, adapted = 0, names(setup.model.sites)
    for part in support["parts"]:
        sequences, length = part["tokens"].shape
        read = part["index"].shape[0] if "index" in part else 0
        work = Work(sequences, length, read, adapter, adapted)
        upper, whole = (forward(config, work, first) for first in (None, 0))
        total += (whole - upper if steps or means else 0) + steps * flops(products(config, work))
        total += upper if means else 0
    return total


def forward(config: Json, work: Work, first: int | None = None) -> int:
    """One pass of the frozen layers from block `first` on, the first adapted one unless given, without the head."""
    return flops(product for product in products(config, work, first) if product.name in ("linear", "attention"))
