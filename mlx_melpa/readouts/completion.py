"""Completion likelihood: the model learns to write `target` after `text`; every assistant turn of a dialogue."""

from collections.abc import Sequence

import numpy as np

from ..core.bases import Base, Model, Readout, Tokenizer
from ..core.bounds import Count
from ..core.engine import Engine
from ..core.types import Array, Batch, Episode, Example, Weights
from ..data.tokens import Encoder
from ..errors import DataError
from .likelihood import Reading, collect, entropy, score


class Completion(Readout):
    """Mean negative log-likelihood per supervised token."""

    verify_with = ({},)
    classifies = False

    def __init__(self, ops: Engine, tokenizer: Tokenizer, template: str, max_length: int):
        self.ops, self.template, self.encoder = ops, template, Encoder(tokenizer, max_length)

    def lacks(self, base: Base) -> str:
        """An encoder writes nothing."""
        if base.kind != "encoder":
            return ""
        return (
            f"{base.name} is an encoder, which reads but can't write; give labelled examples with readout: prototypes, "
            "or a causal model"
        )

    def support(self, episodes: Sequence[Episode]) -> Batch:
        """The support sets of T episodes."""
        return self._batch([ep.support for ep in episodes])

    def query(self, episodes: Sequence[Episode]) -> Batch:
        """The query sets of T episodes."""
        return self._batch([ep.query for ep in episodes])

    def ask(self, examples: Sequence[Example], labels: tuple[str, ...] = ()) -> Batch:
        """One task of texts; there are no labels."""
        return self._batch([tuple(examples)])

    def _batch(self, parts: Sequence[Sequence[Example]]) -> Batch:
        """Besides likelihood.collect's arrays: weights (T, E), count (T, E) the supervised tokens, bytes (T, E) the
        UTF-8 bytes that they spell."""
        size = max(len(p) for p in parts)
        weights, count, spelled = (np.zeros((len(parts), size), np.float32) for _ in range(3))
        readings = []
        for t, examples in enumerate(parts):
            task = []
            for e, example in enumerate(examples):
                tokens, spans = self.tokens(example)
                positions = [i for a, b in spans for i in range(a, b)]
                task.append(Reading(tokens[:-1], [(e, i - 1, tokens[i], 1.0) for i in positions]))
                weights[t, e], count[t, e] = 1, len(positions)
                special = set(self.encoder.first + self.encoder.last)
                text = self.encoder.tokenizer.decode([tokens[i] for i in positions if tokens[i] not in special])
                spelled[t, e] = max(1, len(text.encode()))
            readings.append(task)
        arrays = collect(readings, size, self.encoder.pad, self.ops.LANES)
        return {**arrays, "weights": weights, "count": count, "bytes": spelled}

    def tokens(self, example: Example) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """An example's tokens and the spans [a, b) that are supervised."""
        if example.messages:
            return self.encoder.chat(example.messages, example.source)
        if not example.target:
            raise DataError(
                f"{example.source or repr(example.text)}: nothing to write after the text; "
                'completion needs {"prompt", "completion"}, {"messages"} or people\'s lines'
            )
        before = self.template.format(text=example.text) if example.text else ""
        tokens, start = self.encoder.pair(before, example.target)
        return tokens, [(start, len(tokens))]

    def losses(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Nats per supervised token (T,)."""
        total = (score(self.ops, model, weights, batch) * batch["weights"]).sum(-1)
        return -total / self.ops.maximum((batch["count"] * batch["weights"]).sum(-1), 1)

    def entropies(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Nats of the next token's distribution per supervised token (T,)."""
        total = (entropy(self.ops, model, weights, batch) * batch["weights"]).sum(-1)
        return total / self.ops.maximum((batch["count"] * batch["weights"]).sum(-1), 1)


def completion(ops: Engine, tokenizer: Tokenizer, *, template: str = "{text}\n", max_length: Count = 256) -> Completion:
    """Builds the readout: the loss of a target's tokens, in nats a token.

    Use it when the model should write: replies, a style, dialogues.
    Not when the answer is one of a few labels: `ridge` is more accurate and faster.

    template: what stands before the target, with {text} for the prompt.
    max_length: prompt and target are cut there together, in tokens.
    """
    if "{text}" not in template:
        raise DataError(
            f"readout.template: {template!r} has no {{text}}; write where the text goes, as in '{{text}}\\n'"
        )
    return Completion(ops, tokenizer, template, max_length)
