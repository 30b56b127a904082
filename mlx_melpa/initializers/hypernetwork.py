"""GB-MOA's hypernetwork: rows = start + H(E(support)), a start for each task from its examples or description."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from ..core.bounds import Count
from ..core.engine import Engine
from ..core.layout import Layout, Segment
from ..core.protocols import Initializer, Problem
from ..core.types import Array, Batch, Tree
from ..errors import RecipeError
from .hypernetwork_gates import Ranks, Scales
from .task_encoder import Shapes, TaskEncoder, count, draw

Act = Callable[[Array], Array]


class Whole:
    """H(e) = f(e enter + bias) leave / h: two linear layers that write all of a user's numbers at once."""

    def __init__(self, ops: Engine, layout: Layout, act: Act, embedding: int, hidden: int):
        self.ops, self.layout, self.act, self.hidden = ops, layout, act, hidden
        self.shapes: Shapes = {"enter": (embedding, hidden), "bias": (hidden,), "leave": (hidden, layout.size)}

    def write(self, meta: Tree, embedding: Array) -> list[Array]:
        """The numbers (T, size) of each weight, of embeddings (T, e)."""
        inner = self.act(embedding @ meta["enter"] + meta["bias"]) / self.hidden
        return self.ops.split(inner @ meta["leave"], self.layout.offsets[1:-1], 1)


class Chunked:
    """One H for all sites: f(e enter + (place_w + wave_j) where + bias) leave / h writes chunk j of weight w.

    place_w is learned, one vector for each weight of a site; wave_j are sines and cosines of the chunk's number, so
    that the count of parameters depends on neither the weights' sizes nor the rank.
    """

    def __init__(self, ops: Engine, layout: Layout, act: Act, embedding: int, hidden: int, chunk: int, place: int):
        self.ops, self.layout, self.act, self.hidden, self.chunk = ops, layout, act, hidden, chunk
        self.counts = [-(-segment.size // chunk) for segment in layout.segments]
        number = np.concatenate([np.arange(n) for n in self.counts])[:, None] / 10.0 ** (np.arange(place) // 2 / 4)
        self.waves = ops.array(np.where(np.arange(place) % 2, np.cos(number), np.sin(number)))
        self.weights = ops.array(np.repeat(np.arange(len(self.counts)), self.counts))
        self.shapes: Shapes = {
            "enter": (embedding, hidden),
            "places": (place, len(self.counts)),
            "where": (place, hidden),
            "bias": (hidden,),
            "leave": (hidden, chunk),
        }

    def write(self, meta: Tree, embedding: Array) -> list[Array]:
        """The numbers (T, size) of each weight, of embeddings (T, e)."""
        ops, tasks = self.ops, embedding.shape[0]
        places = (ops.swap(ops.take(meta["places"], self.weights, 1)) + self.waves) @ meta["where"] + meta["bias"]
        task = (embedding @ meta["enter"]).reshape(tasks, 1, self.hidden)
        written = (self.act(task + places) / self.hidden) @ meta["leave"]
        ends = np.cumsum(self.counts) * self.chunk
        pieces = ops.split(written.reshape(tasks, -1), [int(end) for end in ends[:-1]], 1)
        return [self._cut(*each) for each in zip(pieces, self.layout.segments, strict=True)]

    def _cut(self, piece: Array, segment: Segment) -> Array:
        return piece if piece.shape[1] == segment.size else self.ops.split(piece, [segment.size], 1)[0]


class Hypernetwork(Initializer):
    """Rows that are one learned start plus H of a task's context.

    H's last layer begins at 0, and its sums are divided by its width. So meta-training begins as `universal` does, and
    an outer step changes rows about as much. Without a context rows are the start alone.
    """

    verify_with = tuple(
        {"embedding": 6, "hidden": 5, "chunk": 8, "place": 4, "activation": "tanh", **settings}
        for settings in (
            {},
            {"form": "chunked"},
            {"context": "description"},
            {"context": "both"},
            {"scales": True},
            {"ranks": True},
        )
    )

    def __init__(
        self,
        ops: Engine,
        encoder: TaskEncoder,
        writer: Whole | Chunked,
        scales: Scales | None = None,
        ranks: Ranks | None = None,
    ):
        self.ops, self.encoder, self.writer = ops, encoder, writer
        self.scales, self.ranks = scales, ranks

    @property
    def size(self) -> int:
        """The count of parameters beside the start's."""
        parts = (self.encoder, self.writer, self.scales, self.ranks)
        return sum(count(part.shapes) for part in parts if part is not None)

    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """Begins from a row (P,), and draws the encoder and H."""
        start = {"start": self.ops.array(row)}
        encoder, writer = (draw(self.ops, rng, part.shapes) for part in (self.encoder, self.writer))
        meta = {**start, "encoder": encoder, "writer": {**writer, "leave": self.ops.zeros(self.writer.shapes["leave"])}}
        meta |= {} if self.scales is None else {"scales": self.scales.init()}
        return meta | ({} if self.ranks is None else {"ranks": self.ranks.init()})

    def make(self, theta: Tree, support: Batch, tasks: int) -> Array:
        """The rows (T, P) of tasks from the context that the problem put into their support sets."""
        meta = theta["initializer"]
        start = self.ops.broadcast(meta["start"].reshape(1, -1), (tasks, meta["start"].shape[0]))
        if "context" not in support:
            return start
        embedding = self.encoder.embed(meta["encoder"], support["context"], support["present"])
        written = self.writer.write(meta["writer"], embedding)
        if self.scales is not None:
            written = self.scales.apply(meta["scales"], written)
        known = self.ops.minimum(support["present"].sum(-1), 1).reshape(tasks, 1)
        rows = start + known * self.ops.concatenate(written, 1)
        return rows if self.ranks is None else self.ranks.apply(meta["ranks"], embedding, known, rows)


def hypernetwork(
    ops: Engine,
    problem: Problem,
    *,
    context: Literal["support", "description", "both"] = "support",
    form: Literal["whole", "chunked"] = "whole",
    embedding: Count = 128,
    hidden: Count = 128,
    chunk: Count = 1024,
    place: Count = 32,
    activation: Literal["relu", "tanh"] = "relu",
    scales: bool = False,
    ranks: bool = False,
    budget: Count = 30_000_000,
) -> Hypernetwork:
    """Builds the task encoder, whose vectors have `embedding` numbers, and H with `hidden` units (GB-MOA).

    A description is a task file's field, or `melpa adapt --description`; the names of the labels where there is none.
    It is cut at readout.max_length. Raises RecipeError where all this has more parameters than `budget`, and for a mask
    where there are no ranks.

    Use it when a start should depend on the examples or on a description: a user can then be served without a step.
    Not when tasks are few: it has many parameters, and with class means it was no better than `universal`.

    context: what the encoder reads: the support set, a description of the person or task, or both.
    form: whole writes a row at once; chunked writes it in parts, and has far fewer parameters.
    embedding: numbers of a task's vector.
    hidden: hidden units of H.
    chunk: numbers of a part, where form is chunked.
    place: numbers of the vector that tells parts apart.
    activation: tanh is smooth: finite differences hold there, where the kinks of relu spoil them.
    scales: true learns a factor for each site of what H writes there.
    ranks: true predicts a mask of LoRA's ranks from the task's vector.
    budget: the largest number of parameters.
    """
    layout, act = problem.layout, {"relu": ops.relu, "tanh": ops.tanh}[activation]
    writer: Whole | Chunked = Whole(ops, layout, act, embedding, hidden)
    if form == "chunked":
        writer = Chunked(ops, layout, act, embedding, hidden, chunk, place)
    encoder = TaskEncoder(ops, problem.encode(context), embedding, described=context == "both")
    mask = Ranks(ops, layout, embedding) if ranks else None
    if mask is not None and not any(mask.sizes):
        raise RecipeError(
            "initializer.ranks masks LoRA's ranks, and a row has none here; set adapter: lora, or leave it out"
        )
    made = Hypernetwork(ops, encoder, writer, Scales(ops, layout) if scales else None, mask)
    if made.size > budget:
        smaller = "set initializer.form: chunked, which does not grow with the adapter"
        remedy = "lower initializer.embedding, hidden or chunk" if form == "chunked" else smaller
        raise RecipeError(
            f"initializer hypernetwork ({form}) has {made.size:,} parameters for a row of {layout.size:,} numbers, "
            f"above initializer.budget: {budget:,}; {remedy}, or raise the budget"
        )
    return made
