"""Small smooth problems on which every kind of part can be verified: sine curves, and words under one block.

The block has a site for every role of an adapter:
k = v = x;   a = softmax(x k' / sqrt(d)) v;   h = tanh(x + a W)
with x the vectors of the letters. Its sites are the input x, keys and values, a, a W, and h.
"""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import numpy as np

from ..config.kinds import kinds
from ..core.bases import Adapter, Readout
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Problem
from ..core.sites import Site
from ..core.types import AnyEpisode, Array, Episode, Example, Weights
from ..problems.language import language
from ..tasks.sinusoid import SinusoidEpisode, SinusoidTasks
from ..tasks.streams import Streams

ALPHABET, WIDTH, WAYS = "abcdefgh", 6, 3
ROLES = get_args(get_type_hints(Site)["role"])
Episodes = Sequence[AnyEpisode]


def curves(ops: Engine, seed: int, streamed: bool = False) -> tuple[Problem, Episodes]:
    """A network of tanh, and two sine curves, or two streams of two.

    They are flat, so that the inner problem has one solution, as imaml requires.
    """
    problem = kinds("problem")["regression"](ops, hidden=[8], activation="tanh")
    tasks = FlatCurves(shots=5, queries=5, spread=0.0)
    source = Streams(tasks, 2, "training") if streamed else tasks
    return problem, [source.episode(np.random.default_rng([seed, 1, i])) for i in range(2)]


class FlatCurves(SinusoidTasks):
    """Sine curves with a tenth of the amplitude."""

    def episode(self, rng: np.random.Generator) -> SinusoidEpisode:
        """Draws a curve."""
        drawn = super().episode(rng)
        return replace(drawn, y_support=0.1 * drawn.y_support, y_query=0.1 * drawn.y_query)


def words(
    ops: Engine, seed: int, adapter: Adapter, readout: Readout, streamed: bool = False
) -> tuple[Problem, Episodes]:
    """The block under an adapter and a readout, and two tasks of words, or the two in both orders.

    A label says which letters its words prefer. The second task has one label less and no description.
    """
    rng = np.random.default_rng([seed, 5])
    model: Any = Block(ops, rng, adapter)
    problem = language(ops, model, readout)
    episodes = [replace(_task(rng, WAYS), description="faced"), _task(rng, WAYS - 1)]
    episodes = episodes if readout.classifies else [_written(episode) for episode in episodes]
    return problem, [tuple(episodes), tuple(reversed(episodes))] if streamed else episodes


def _task(rng: np.random.Generator, ways: int) -> Episode:
    likes, labels = rng.dirichlet(np.full(len(ALPHABET), 0.5), ways), tuple("abc"[:ways])

    def drawn(label: int) -> Example:
        letters = rng.choice(len(ALPHABET), rng.integers(2, 5), p=likes[label])
        return Example("".join(ALPHABET[letter] for letter in letters), label=labels[label])

    support, query = (tuple(drawn(c) for c in range(ways) for _ in range(2)) for _ in range(2))
    return Episode("words", support, query, labels)


def _written(episode: Episode) -> Episode:
    """The task with each text's predecessor as the target to write after it."""

    def targets(examples: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(replace(e, target=examples[i - 1].text) for i, e in enumerate(examples))

    return replace(episode, support=targets(episode.support), query=targets(episode.query))


class Letters:
    """A tokenizer whose tokens are the places of letters in a short alphabet; 0 stands for all others."""

    bos_token_id, eos_token_id, chat_template = None, 0, None

    def encode(self, text: str, **_: Any) -> list[int]:
        """The tokens of a text."""
        return [1 + ALPHABET.find(letter) for letter in text]

    def apply_chat_template(self, conversation: list[dict[str, str]], **_: Any) -> list[int]:
        """There is none."""
        return []

    def decode(self, token_ids: Sequence[int], /) -> str:
        """The text of tokens."""
        return "".join(ALPHABET[token - 1] for token in token_ids if token)


class Block:
    """The model that language problems know, with an adapter at its sites."""

    base = SimpleNamespace(width=WIDTH)
    frozen_blocks = 0

    def __init__(self, ops: Engine, rng: np.random.Generator, adapter: Adapter):
        self.ops, self.adapter = ops, adapter
        self.vectors = ops.array(rng.standard_normal((1 + len(ALPHABET), WIDTH)))
        self.weight = ops.array(rng.standard_normal((WIDTH, WIDTH)))
        sites = adapter.choose([Site(0, role, WIDTH, WIDTH, role) for role in ROLES])
        self.layout = Layout(segment for site in sites for segment in adapter.segments(site))

    def hidden(self, weights: Weights, tokens: Array, prefix_states: Array | None = None) -> Array:
        """States (T*B, L, d) of tokens (T*B, L)."""
        ops, before, (count, length) = self.ops, self.adapter.tokens, tokens.shape
        by_role = dict[str, list[Array]]()
        for segment in self.layout.segments:
            by_role.setdefault(segment.name.split(".")[1], []).append(weights[segment.name])

        def adapted(role: str, x: Array, y: Array) -> Array:
            return self.adapter.apply(ops, by_role[role], x, y) if role in by_role else y

        x = ops.take(self.vectors, tokens, 0)
        x = ops.concatenate([ops.zeros((count, before, WIDTH)), x], 1) if before else x
        x = adapted("input", x, x)
        keys = x.reshape(count, 1, before + length, WIDTH)
        cached = adapted("cache", keys, keys) if "cache" in by_role else (keys, keys)
        k, v = (each.reshape(count, -1, WIDTH) for each in cached)
        a = adapted("attention", x, ops.softmax(x @ ops.swap(k) * WIDTH**-0.5) @ v)
        h = ops.tanh(x + adapted("linear", a, a @ self.weight))
        h = adapted("feed_forward", h, h)
        return ops.split(h, [before], 1)[1] if before else h

    def logits(self, weights: Weights, tokens: Array, index: Array, prefix_states: Array | None = None) -> Array:
        """Logits (N, V) at flat positions `index` (N,)."""
        return self.ops.take(self.hidden(weights, tokens).reshape(-1, WIDTH), index, 0) @ self.ops.swap(self.vectors)
