"""Label words as continuations: score(i, c) = mean over the word's tokens of log p(token | prompt, word so far)."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal

import numpy as np

from ..core.bases import Base, Model, Readout, Tokenizer
from ..core.bounds import Count
from ..core.engine import Engine
from ..core.types import Array, Batch, Episode, Example, Weights
from ..data.tokens import Encoder
from ..errors import DataError
from .likelihood import Reading, collect, score


class Labels(Readout):
    """Cross-entropy over the candidates' length-normalized scores."""

    verify_with = ({},)
    classifies = True

    def __init__(self, ops: Engine, tokenizer: Tokenizer, words: str, template: str, max_length: int):
        self.ops, self.words, self.template = ops, words, template
        self.encoder = Encoder(tokenizer, max_length)
        mask = getattr(tokenizer, "mask_token", None)
        self.masked = bool(mask) and template.endswith(str(mask))

    def lacks(self, base: Base) -> str:
        """An encoder fills in a mask, which has to stand at the template's end."""
        if base.kind != "encoder" or self.masked:
            return ""
        return (
            f"{base.name} is an encoder, which fills in a mask: end readout.template with "
            f"'{base.tokenizer.mask_token}', or set readout: prototypes"
        )

    def candidates(self, labels: Sequence[str]) -> list[str]:
        """The word of each label: itself, or a letter by its place (a task's labels come in random order)."""
        if self.words == "own":
            return [" " + label.replace("_", " ") for label in labels]
        if len(labels) > len(ascii_uppercase):
            raise DataError(f"{len(labels)} labels are more than the 26 letters; set readout.words: own")
        return [" " + letter for letter in ascii_uppercase[: len(labels)]]

    def support(self, episodes: Sequence[Episode]) -> Batch:
        """The support sets of T episodes."""
        return self._batch([ep.support for ep in episodes], [ep.labels for ep in episodes])

    def query(self, episodes: Sequence[Episode]) -> Batch:
        """The query sets of T episodes; a label has the same word as in the support set."""
        return self._batch([ep.query for ep in episodes], [ep.labels for ep in episodes])

    def ask(self, examples: Sequence[Example], labels: tuple[str, ...]) -> Batch:
        """One task of examples; order (n,): which example stands at each place."""
        batch = self._batch([tuple(examples)], [labels])
        return {**batch, "order": np.arange(len(examples))}

    def _batch(self, parts: list[tuple[Example, ...]], labels: list[tuple[str, ...]]) -> Batch:
        """Besides likelihood.collect's arrays: onehot (T, E, N), weights (T, E), label_mask (T, N)."""
        words = [self.candidates(own) for own in labels]
        size, ways = max(len(p) for p in parts), max(len(w) for w in words)
        tasks = len(parts)
        onehot, mask = np.zeros((tasks, size, ways), np.float32), np.zeros((tasks, ways), np.float32)
        weights = np.zeros((tasks, size), np.float32)
        readings = []
        for t, (examples, own) in enumerate(zip(parts, labels, strict=True)):
            place = {label: c for c, label in enumerate(own)}
            ids = [self.encoder.ids(word) for word in words[t]]
            mask[t, : len(ids)] = 1
            task: list[Reading] = []
            for e, example in enumerate(examples):
                weights[t, e] = 1
                if example.label in place:
                    onehot[t, e, place[example.label]] = 1
                task += self._read(example, ids, e * ways)
            readings.append(task)
        arrays = collect(readings, size * ways, self.encoder.pad, self.ops.LANES)
        return {**arrays, "onehot": onehot, "label_mask": mask, "weights": weights}

    def _read(self, example: Example, words: list[tuple[int, ...]], slot: int) -> list[Reading]:
        room = self.encoder.max_length - max(len(w) for w in words)
        prompt = self._prompt(example.text, room)
        end = len(prompt) - 1
        if all(len(w) == 1 for w in words):  # one pass of the prompt answers for all candidates
            return [Reading(prompt, [(slot + c, end, w[0], 1.0) for c, w in enumerate(words)])]
        if self.masked:
            raise DataError(
                f"{example.source or repr(example.text)}: a label's word is of several tokens, and a mask stands for "
                "one; set readout.words: letters, or readout: prototypes"
            )
        return [
            Reading((*prompt, *w[:-1]), [(slot + c, end + i, token, 1 / len(w)) for i, token in enumerate(w)])
            for c, w in enumerate(words)
        ]

    def _prompt(self, text: str, room: int) -> tuple[int, ...]:
        before, _, after = self.template.partition("{text}")
        tail = self.encoder.ids(after)
        head = (*self.encoder.first, *self.encoder.ids(before + text))[: max(1, room - len(tail))]
        return (*head, *tail) or (self.encoder.pad,)

    def scores(self, model: Model, weights: Weights, batch: Batch) -> Array:
        """Length-normalized log-likelihoods (T, E, N); -1e9 for labels that a task lacks."""
        each = score(self.ops, model, weights, batch).reshape(*batch["onehot"].shape)
        return each + (batch["label_mask"] - 1).reshape(batch["label_mask"].shape[0], 1, -1) * 1e9


def labels(
    ops: Engine,
    tokenizer: Tokenizer,
    *,
    words: Literal["own", "letters"] = "own",
    template: str = "{text}\nLabel:",
    max_length: Count = 128,
) -> Labels:
    """Builds the readout: the label's word follows the `template`.

    Use it when the base knows what the label words mean, as with zero or one example and a large model.
    Not when labels are arbitrary names, or many: every label's word is scored for every text.

    words: own, the label's name, or letters, which are dealt anew to the labels of each episode.
    template: what the model reads, with {text} for the text.
    max_length: texts are cut there, in tokens.
    """
    if "{text}" not in template:
        raise DataError(
            f"readout.template: {template!r} has no {{text}}; write where it goes, as in '{{text}}\\nLabel:'"
        )
    return Labels(ops, tokenizer, words, template, max_length)
