"""An adapted language model with a readout: a row holds the adapter's numbers, then the readout's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log

import numpy as np

from ..core.bases import Model, Readout
from ..core.engine import Engine
from ..core.layout import Layout
from ..core.protocols import Problem
from ..core.rows import RowProblem
from ..core.types import SCALE, Array, Batch, Episode, Example, Tree
from ..data.tokens import pad

TINY = 1e-12


class Language(RowProblem, Problem):
    """Adapts a frozen language model; states below the first adapted block are computed once per batch."""

    needs_model = True

    def __init__(self, ops: Engine, model: Model, readout: Readout):
        super().__init__(ops, model.layout + Layout(readout.segments(model.base.width, model.frozen_blocks > 0)))
        self.model, self.readout = model, readout
        self._encodes = ""

    def encode(self, context: str = "support") -> int:
        """Adds a task encoder's inputs, `context` and `present`, to support batches; returns their width.

        The encoder reads the examples ("support"), the task's description, or both, the description last.
        """
        self._encodes = context
        return int(self.model.base.width)

    def prepare(self, episodes: Sequence[Episode]) -> tuple[Batch, Batch]:
        """Encodes T episodes as (support, query)."""
        return self.support(episodes), self.query(episodes)

    def support(self, episodes: Sequence[Episode]) -> Batch:
        """The support sets of T episodes, with the frozen prefix's states."""
        batch = self._ready(self.readout.support(episodes))
        return {**batch, **self._context(batch, episodes)} if self._encodes else batch

    def query(self, episodes: Sequence[Episode]) -> Batch:
        """The query sets of T episodes, with the frozen prefix's states."""
        return self._ready(self.readout.query(episodes))

    def questions(self, episodes: Sequence[Episode]) -> Batch:
        """The query sets of T episodes without their support sets; `memory` takes the place of these."""
        return self.query([replace(episode, support=()) for episode in episodes])

    def init_metric(self, row: np.ndarray, shared: Tree, episodes: Sequence[Episode], size: int) -> Tree:
        """theta["problem"] with the readout's closed form for training episodes, computed in passes of `size`.

        It is computed under a random start (own,).
        """
        plain = self.with_decoder(None)
        batches = (self.query(episodes[i : i + size]) for i in range(0, len(episodes), size))
        found = self.readout.init_metric(self.model, plain.weights(self.ops.array(row[None]), shared), batches)
        before = self._shared.views(self.ops.numpy(shared["shared"]))
        return {**shared, "shared": self.ops.array(self._shared.row({**before, **found}))}

    def _ready(self, batch: Batch) -> Batch:
        """The batch as the engine's arrays, with outputs of the frozen blocks beside every `tokens`.

        prefix_states (T*B, L, d) is the last block's output. first_block_mean (T*B, d) is the first block's, averaged
        over tokens, where tokens are pooled.
        """
        ready: Batch = self._arrays(batch)
        for i, part in enumerate(ready.get("parts", ()) if self.model.frozen_blocks else ()):
            with self.ops.lane(i):
                first, part["prefix_states"] = self.model.frozen_states(part["tokens"])
                if "pool" in part:
                    part["first_block_mean"] = (first * part["pool"].reshape(*part["pool"].shape, 1)).sum(1)
        self.ops.evaluate(ready)
        return ready

    def _context(self, batch: Batch, episodes: Sequence[Episode]) -> Batch:
        """context (T, S, d): the frozen model's states of each sequence, averaged over its tokens and scaled to a mean
        square of 1; present (T, S) is 0 where a sequence is padding alone.

        The states are the last frozen block's, or the base's own last ones where no block is frozen. The token that
        pads is left out wherever it stands.
        """
        ops, tasks = self.ops, batch["weights"].shape[0]
        base, means, present = self.model.layout.weights(ops, ops.zeros((tasks, self.model.layout.size))), [], []
        read = () if self._encodes == "description" else batch["parts"]
        read = read if self._encodes == "support" else (*read, *self._descriptions(episodes))
        for i, part in enumerate(read):
            with ops.lane(i):
                states = part["prefix_states"] if "prefix_states" in part else self.model.hidden(base, part["tokens"])
                real = ops.where(part["tokens"] == self.readout.encoder.pad, 0.0, 1.0)
                mean = (ops.cast(states, real) * real.reshape(*real.shape, 1)).sum(1)
                mean = mean / ops.sqrt((mean * mean).mean(-1).reshape(-1, 1) + TINY)
                means.append(mean.reshape(tasks, -1, mean.shape[-1]))
                present.append(ops.minimum(real.sum(-1), 1).reshape(tasks, -1))
        found = {"context": ops.concatenate(means, 1), "present": ops.concatenate(present, 1)}
        ops.evaluate(found)
        return found

    def _descriptions(self, episodes: Sequence[Episode]) -> tuple[Batch, ...]:
        """The tasks' descriptions as a part that is ready, padding alone where there is none."""
        encoder, texts = self.readout.encoder, map(description, episodes)
        tokens = pad([encoder.whole(text) if text else (encoder.pad,) for text in texts], encoder.pad)
        parts: tuple[Batch, ...] = self._ready({"parts": ({"tokens": tokens},)})["parts"]
        return parts

    def _arrays(self, batch: Tree) -> Tree:
        if isinstance(batch, tuple):
            return tuple(self._arrays(part) for part in batch)
        if isinstance(batch, dict):
            return {name: self._arrays(value) for name, value in batch.items()}
        return self.ops.array(batch)

    def answer(
        self, rows: Array, examples: Sequence[Example], labels: tuple[str, ...], memory: Batch, shared: Tree
    ) -> np.ndarray:
        """Probabilities (n, N) of one user's labels, under rows (1, P) and the memory of `summarize`."""
        asked = self.readout.ask(examples, labels)
        found = self.ops.numpy(self.predict(rows, self._ready({**asked, **memory}), shared))[0]
        return found[np.argsort(asked["order"])]

    def summarize(
        self,
        rows: Array,
        examples: Sequence[Example],
        labels: tuple[str, ...],
        earlier: Mapping[str, np.ndarray],
        shared: Tree,
    ) -> dict[str, np.ndarray]:
        """The readout's memory of one user's examples, added to the `earlier` memory, under rows (1, P)."""
        support = self._ready(self.readout.support([Episode("", tuple(examples), (), labels)]))
        kept = self.memory(
            rows, {**support, **{name: self.ops.array(value) for name, value in earlier.items()}}, shared
        )
        return {name: self.ops.numpy(value) for name, value in kept.items()}

    def with_temperature(self, rows: Array, support: Batch, shared: Tree) -> Array:
        """The rows with the temperature fitted to a support batch; the same rows if they hold none."""
        if SCALE not in (s.name for s in self.layout.segments):
            return rows
        change = self.readout.temperature_change(self.model, self.weights(rows, shared), support)
        before, scale = self.ops.split(rows, [rows.shape[1] - 1], 1)
        return self.ops.concatenate([before, scale + self.ops.array(change[:, None])], 1)

    def memory(self, rows: Array, support: Batch, shared: Tree) -> Batch:
        """The memory of a support batch, as the engine's arrays; {} for a readout that needs none."""
        kept: Batch = self.readout.memory(self.model, self.weights(rows, shared), support)
        return kept

    def class_means(self, rows: Array, support: Batch, shared: Tree) -> Array:
        """The mean feature (T, ways, d') of each label's support examples, for a readout with a linear head."""
        means: Array = self.readout.class_means(self.model, self.weights(rows, shared), support)
        return means

    def ask(self, examples: Sequence[Example], labels: tuple[str, ...]) -> Batch:
        """One user's examples without a support set; the entries of `memory` join the batch."""
        return self._ready(self.readout.ask(examples, labels))

    def scores(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Logits (T, B, N) of the labels."""
        found: Array = self.readout.scores(self.model, self.weights(rows, shared), batch)
        return found

    def losses(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Per-task losses (T,), nats."""
        return self.readout.losses(self.model, self.weights(rows, shared), batch)

    def entropies(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Mean entropies (T,), nats: of the labels per scored example, or of the next token per supervised one."""
        if not self.readout.classifies:
            found: Array = self.readout.entropies(self.model, self.weights(rows, shared), batch)
            return found
        z = self.scores(rows, batch, shared)
        each = self.ops.log_sum_exp(z).reshape(*z.shape[:2]) - (self.ops.softmax(z) * z).sum(-1)
        return (each * batch["weights"]).sum(-1) / self.ops.maximum(batch["weights"].sum(-1), 1)

    def predict(self, rows: Array, batch: Batch, shared: Tree) -> Array:
        """Probabilities (T, B, N) of the labels."""
        return self.ops.softmax(self.scores(rows, batch, shared))

    def drift(self, rows: Array, before: Array, batch: Batch, shared: Tree) -> Array:
        """Mean KL (T,), nats, from the label probabilities under the rows before to those under rows."""
        ops = self.ops
        now, then = (self.scores(each, batch, shared) for each in (rows, before))
        now, then = (z - ops.log_sum_exp(z).reshape(*z.shape[:2], 1) for z in (now, then))
        each = (ops.exp(then) * (then - now)).sum(-1)
        return (each * batch["weights"]).sum(-1) / ops.maximum(batch["weights"].sum(-1), 1)

    def measure(self, rows: Array, batch: Batch, shared: Tree) -> Mapping[str, np.ndarray]:
        """Per task: loss, and accuracy with macro F1, or perplexity with bits per byte; NaN without scored examples."""
        ops = self.ops
        if not self.readout.classifies:
            loss = ops.numpy(self.losses(rows, batch, shared)).astype(np.float64)
            count, spelled = (ops.numpy((batch[k] * batch["weights"]).sum(-1)) for k in ("count", "bytes"))
            return {"loss": loss, "perplexity": np.exp(loss), "bits_per_byte": loss * count / spelled / log(2)}
        probabilities = ops.numpy(self.predict(rows, batch, shared))
        onehot, counted = ops.numpy(batch["onehot"]), ops.numpy(self.readout.loss_weights(batch))
        found = classified(probabilities, onehot, counted)
        return {name: np.where(counted.any(-1), values, np.nan) for name, values in found.items()}


def description(episode: Episode) -> str:
    """A task's description; the names of its labels where it has none; else empty."""
    return episode.description or (f"labels: {', '.join(sorted(episode.labels))}" if episode.labels else "")


def classified(probabilities: np.ndarray, onehot: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Loss (nats), accuracy and macro F1, each (T,): probabilities (T, B, N), onehot (T, B, N), weights (T, B).

    Macro F1 averages over the labels that occur among a task's scored examples or answers.
    """
    total = np.maximum(weights.sum(-1), 1)
    likely = (probabilities * onehot).sum(-1)
    answer = probabilities.argmax(-1)
    right = (answer == onehot.argmax(-1)) & (onehot.sum(-1) > 0)
    said = np.eye(onehot.shape[-1])[answer] * weights[..., None]
    true = onehot * weights[..., None]
    both = (said * true).sum(1)
    occurring = said.sum(1) + true.sum(1)
    each = np.where(occurring > 0, 2 * both / np.maximum(occurring, 1), 0)
    f1 = each.sum(-1) / np.maximum((occurring > 0).sum(-1), 1)
    loss = (-np.log(np.maximum(likely, 1e-12)) * weights).sum(-1) / total
    return {"loss": loss, "accuracy": (right * weights).sum(-1) / total, "f1": f1}


def language(ops: Engine, model: Model, readout: Readout) -> Language:
    """Builds the problem from an adapted base and a readout.

    Use it when the recipe has a `model`: it is the default then.
    Not when there is no base model: `regression` brings its own network.
    """
    return Language(ops, model, readout)
