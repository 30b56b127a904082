"""In-context learning: nothing is adapted, and a task's examples stand before each question instead.

Labels are called by their own words, whatever the recipe's readout, so that the base may know what they mean. Each is
scored by its mean log-probability per token. A prompt has the number of examples that the settings say, or fewer if the
base's context holds no more. Calibration subtracts the scores of a question without content (Zhao et al. 2021). For
text, the task's own texts stand before each one, as many as fit; a target may then be longer than the recipe's readout
allows. The number of examples and the calibration are tuned. On MLX the examples are read once for all questions.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple, cast

import numpy as np

from ...config.build import Setup, part_of
from ...core.types import Episode, Example, Json
from ...problems.language import Language, classified
from ...readouts.completion import Completion, completion
from ...readouts.labels import Labels, labels
from ..curves import HIGHER, Measures
from .frozen_features import softmax

CONTEXT = 2048
"""The most tokens of a prompt, unless the base says less."""
CONTENT_FREE = "N/A"
SHOWN = (1, 2)
"""Numbers of examples that are tried, beside all."""


class InContextSettings(NamedTuple):
    """Examples that are shown, of each label or of a user, and whether scores are calibrated."""

    examples: int
    calibrated: bool = False


class InContext:
    """The base model with examples before each question."""

    def __init__(self, setup: Setup):
        self.setup, self.ops = setup, setup.parts.ops
        self.classifies = setup.readout.classifies
        known = (setup.base.config.get(name) for name in ("max_position_embeddings", "n_positions"))
        limit = min([CONTEXT, *(int(size) for size in known if size)])
        template = setup.readout.template
        settings: Json = {"max_length": limit, **({"template": template} if template else {})}
        build = labels if self.classifies else completion
        self.head: Labels | Completion = build(self.ops, setup.base.tokenizer, **settings)
        engine = part_of(setup.recipe.backend, "shared_prompt")
        self.model = engine.SharedPrompt(setup.model)
        self.problem = Language(self.ops, self.model, self.head)
        self.rows, self.shared = self.problem.identity()

    def options(self, shots: int) -> list[InContextSettings]:
        """The settings that are tried on the validation episodes."""
        counts = sorted({min(n, shots) for n in (*SHOWN, shots)})
        calibrations = (False, True) if self.classifies else (False,)
        return [InContextSettings(n, c) for n, c in product(counts, calibrations)]

    def measure(self, drawn: Sequence[Episode], settings: InContextSettings) -> Measures:
        """The measures of episodes, each (E,)."""
        found = [self.measure_both(episode, settings.examples)[settings.calibrated] for episode in drawn]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def tune(self, drawn: Sequence[Episode], main: str) -> InContextSettings:
        """The best settings on these episodes; calibration costs no pass of its own."""
        worth: dict[InContextSettings, float] = {}
        for count in dict.fromkeys(option.examples for option in self.options(shots_of(drawn))):
            found = [self.measure_both(episode, count) for episode in drawn]
            for calibrated in range(len(found[0])):
                mean = float(np.mean([one[calibrated][main] for one in found]))
                worth[InContextSettings(count, bool(calibrated))] = mean if main in HIGHER else -mean
        return max(worth, key=lambda settings: worth[settings])

    def measure_both(self, episode: Episode, count: int) -> list[Measures]:
        """One episode's measures, each (1,), as they are, and calibrated if there are labels."""
        if isinstance(self.head, Completion):
            batch = self.problem.query([self.with_texts(episode, count)])
            return [dict(self.problem.measure(self.rows, batch, self.shared))]
        prompted = self.with_labelled(episode, count)
        batch = self.problem.query([prompted])
        scores = self.ops.numpy(self.problem.scores(self.rows, batch, self.shared)).astype(np.float64)
        onehot, weights = (self.ops.numpy(batch[name])[:, :-1] for name in ("onehot", "weights"))
        plain, empty = scores[:, :-1], scores[:, -1:]
        return [classified(softmax(z), onehot, weights) for z in (plain, plain - empty)]

    def with_labelled(self, episode: Episode, count: int) -> Episode:
        """The episode's questions, and one without content, each after `count` examples of each label or fewer."""
        head = cast(Labels, self.head)
        before, _, after = head.template.partition("{text}")
        questions = [*(e.text for e in episode.query), CONTENT_FREE]
        words = dict(zip(episode.labels, head.candidates(episode.labels), strict=True))
        encoder = head.encoder
        room = encoder.max_length - max(len(encoder.ids(word)) for word in words.values()) - len(encoder.first)
        room -= max(len(encoder.ids(before + text + after)) for text in questions) + 1
        for n in range(count, -1, -1):
            shown = [e for label in episode.labels for e in of_label(episode, label)[:n]]
            shown.sort(key=episode.support.index)
            prompt = "".join(f"{e.text}{after}{words[e.label or '']}\n\n{before}" for e in shown)
            if len(encoder.ids(prompt)) <= room:
                break
        query = [Example(prompt + e.text, label=e.label) for e in episode.query]
        return replace(episode, query=(*query, Example(prompt + CONTENT_FREE, label=episode.labels[0])))

    def with_texts(self, episode: Episode, count: int) -> Episode:
        """The episode's texts after `count` of the support; the beginning of a long one is cut."""
        template = self.head.template
        shown = [(template.format(text=e.text) if e.text else "") + (e.target or "") for e in episode.support[:count]]
        query = [replace(e, text="\n\n".join([*shown, *([e.text] if e.text else [])])) for e in episode.query]
        return replace(episode, query=tuple(query))


def impossible(setup: Setup, drawn: Sequence[Episode]) -> str:
    """The reason why no examples can be shown before a question; empty if they can."""
    if setup.base is None:
        return "there is no language model"
    if setup.base.kind == "encoder":
        return f"{setup.base.name} is an encoder, which writes nothing"
    if any(example.messages for example in drawn[0].query):
        return "the texts are dialogues, which hold their own context"
    return ""


def of_label(episode: Episode, label: str | None) -> list[Example]:
    """The support's examples of a label; of None those without one."""
    return [example for example in episode.support if example.label == label]


def shots_of(drawn: Sequence[Episode]) -> int:
    """The most support examples of a label, or of a user, in any of the episodes."""
    return max(max(Counter(example.label for example in episode.support).values()) for episode in drawn)
