"""One block with a place for every kind of adapter, under any readout: what difference quotients see of both.

k = v = x;   a = softmax(x k' / sqrt(d)) v;   h = tanh(x + a W)
x are the vectors of the letters, and each arrow has a site: the input x, keys and values, a, a W, and h. Nothing hides
what stands behind a token, and what pads a text is read with it.
"""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import numpy as np

from ..config.kinds import kinds
from ..core.layout import Layout
from ..core.sites import Site
from ..core.types import Array, Episode, Example, Weights
from ..problems.language import Language, language
from .toy_words import LETTERS, Letters, words

WIDTH = 6
ROLES = get_args(get_type_hints(Site)["role"])
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2},
    "bottleneck": {"width": 3, "placement": "houlsby"},
    "full": {},
    "prompt": {"tokens": 2},
    "prefix": {"length": 2},
}
READOUTS: dict[str, dict[str, Any]] = {
    "prototypes": {"temperature": 4.0},
    "ridge": {"temperature": 4.0},
    "linear": {"temperature": 4.0, "ways": 3},
    "labels": {},
    "completion": {},
}


class Block:
    """The model that problems know, with an adapter at its sites."""

    base = SimpleNamespace(width=WIDTH)
    frozen_blocks = 0

    def __init__(self, ops: Any, rng: np.random.Generator, adapter: Any):
        self.ops, self.adapter = ops, adapter
        self.vectors, self.weight = (
            ops.array(rng.standard_normal(shape)) for shape in ((1 + LETTERS, WIDTH), (WIDTH, WIDTH))
        )
        sites = adapter.choose([Site(0, role, WIDTH, WIDTH, role) for role in ROLES])
        self.layout = Layout(segment for site in sites for segment in adapter.segments(site))
        self.before = getattr(adapter, "tokens", 0)

    def hidden(self, weights: Weights, tokens: Array, start: Array | None = None) -> Array:
        """States (T*B, L, d) of tokens (T*B, L)."""
        ops, (count, long) = self.ops, tokens.shape
        bound = self._by_role(weights)

        def at(role: str, x: Any, y: Any) -> Any:
            return self.adapter.apply(ops, bound[role], x, y) if role in bound else y

        x = ops.take(self.vectors, tokens, 0)
        x = ops.concatenate([ops.zeros((count, self.before, WIDTH)), x], 1) if self.before else x
        x = at("input", x, x)
        keys = x.reshape(count, 1, self.before + long, WIDTH)
        cached = at("cache", keys, keys) if "cache" in bound else (keys, keys)
        k, v = (each.reshape(count, -1, WIDTH) for each in cached)
        a = at("attention", x, ops.softmax(x @ ops.swap(k) * WIDTH**-0.5) @ v)
        h = ops.tanh(x + at("linear", a, a @ self.weight))
        h = at("feed_forward", h, h)
        return ops.split(h, [self.before], 1)[1] if self.before else h

    def logits(self, weights: Weights, tokens: Array, index: Array, start: Array | None = None) -> Array:
        """Logits (N, V) at flat positions `index` (N,)."""
        return self.ops.take(self.hidden(weights, tokens).reshape(-1, WIDTH), index, 0) @ self.ops.swap(self.vectors)

    def _by_role(self, weights: Weights) -> dict[str, list[Array]]:
        """Each site's weights, by its role."""
        found = dict[str, list[Array]]()
        for segment in self.layout.segments:
            found.setdefault(segment.name.split(".")[1], []).append(weights[segment.name])
        return found


def _told(episode: Episode) -> Episode:
    """The task with, for each text, the one before as what is to be written after it."""

    def told(examples: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(replace(e, target=examples[i - 1].text) for i, e in enumerate(examples))

    return replace(episode, support=told(episode.support), query=told(episode.query))


def block(ops: Any, adapter: str, readout: str, seed: int = 0) -> tuple[Language, list[Episode]]:
    """The problem with kinds of adapter and readout, and two tasks."""
    rng = np.random.default_rng([seed, 5])
    model = Block(ops, rng, kinds("adapter")[adapter](**ADAPTERS[adapter]))
    problem = language(ops, model, kinds("readout")[readout](ops, Letters(), **READOUTS[readout]))
    return problem, [_told(episode) if readout == "completion" else episode for episode in words(ops, seed)[1]]
