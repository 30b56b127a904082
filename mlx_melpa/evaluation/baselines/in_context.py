"""Examples in context: a baseline that adapts nothing, and puts a task's examples before each question instead

Labels are the words that they are called by, whatever the recipe's readout, so that the base may know what they mean;
each is scored by its mean log-probability per token. As many examples of each label as the trial says, or fewer where
the base's context holds no more. A calibrated trial takes away the scores of a question without content (Zhao et al.
2021). Text follows the task's own texts, as many as fit; there a target may be longer than the recipe's readout lets
it be. The number of examples and the calibration are tuned. On MLX the examples are read once for all questions.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ...config.build import Composition, part_of
from ...core.types import Episode, Example
from ...problems.language import Language, classified
from ...readouts.completion import completion
from ...readouts.labels import labels
from .. import curves as evaluate
from .frozen_features import softmax

CONTEXT = 2048
"""Tokens at most, where the base says nothing less."""
CONTENT_FREE = "N/A"


class Trial(NamedTuple):
    """Examples in context, of each label or of a person, and whether answers are calibrated."""

    examples: int
    calibrated: bool = False


class InContext:
    """The base of a composition, asked with examples before each question."""

    def __init__(self, composed: Composition):
        self.composed, self.ops = composed, composed.parts.ops
        self.classifies = composed.readout.classifies
        known = (composed.base.config.get(name) for name in ("max_position_embeddings", "n_positions"))
        limit = min([CONTEXT, *(int(size) for size in known if size)])
        own = getattr(composed.readout, "template", None)
        builder: Any = labels if self.classifies else completion
        settings = {"template": own} if own else {}
        self.head = builder(self.ops, composed.base.tokenizer, max_length=limit, **settings)
        engine = part_of(composed.recipe.backend, "shared_prompt")
        self.model = engine.Continued(composed.model)
        self.problem = Language(self.ops, self.model, self.head)
        self.rows = self.ops.array(self.problem.layout.draw(np.random.default_rng(0))[None])

    def trials(self, shots: int) -> list[Trial]:
        """What is tried on the validation episodes."""
        counts = sorted({min(n, shots) for n in (1, 2, shots)})
        return [Trial(n, c) for n, c in product(counts, (False, True) if self.classifies else (False,))]

    def measure(self, drawn: Sequence[Episode], trial: Trial) -> evaluate.Curves:
        """The measures of episodes, each (E,)."""
        found = [self.both(episode, trial.examples)[trial.calibrated] for episode in drawn]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def tune(self, drawn: Sequence[Episode], shots: int, main: str) -> Trial:
        """The best trial on these episodes; calibration costs no pass of its own."""
        worth: dict[Trial, float] = {}
        for count in {trial.examples: None for trial in self.trials(shots)}:
            found = [self.both(episode, count) for episode in drawn]
            for calibrated in range(len(found[0])):
                mean = float(np.mean([one[calibrated][main] for one in found]))
                worth[Trial(count, bool(calibrated))] = mean if main in evaluate.HIGHER else -mean
        return max(worth, key=lambda trial: worth[trial])

    def both(self, episode: Episode, count: int) -> list[dict[str, np.ndarray]]:
        """One episode's measures, each (1,), as they are, and calibrated where there are labels."""
        if not self.classifies:
            batch = self.problem.query([self.text(episode, count)])
            return [dict(self.problem.measure(self.rows, batch))]
        asked = self.labelled(episode, count)
        batch = self.problem.query([asked])
        scores = self.ops.numpy(self.head.scores(self.model, self.rows, batch)).astype(np.float64)
        onehot, weights = (self.ops.numpy(batch[name])[:, :-1] for name in ("onehot", "weights"))
        plain, empty = scores[:, :-1], scores[:, -1:]
        return [classified(softmax(z), onehot, weights) for z in (plain, plain - empty)]

    def labelled(self, episode: Episode, count: int) -> Episode:
        """The episode's questions, and one without content, each after `count` examples of each label or fewer."""
        before, _, after = self.head.template.partition("{text}")
        questions = [*(e.text for e in episode.query), CONTENT_FREE]
        words = dict(zip(episode.labels, self.head.candidates(episode.labels), strict=True))
        encoder = self.head.encoder
        room = encoder.max_length - max(len(encoder.ids(word)) for word in words.values()) - len(encoder.first)
        room -= max(len(encoder.ids(before + text + after)) for text in questions) + 1
        for n in range(count, -1, -1):
            shown = [e for label in episode.labels for e in of(episode, label)[:n]]
            shown.sort(key=episode.support.index)
            said = "".join(f"{e.text}{after}{words[e.label or '']}\n\n{before}" for e in shown)
            if len(encoder.ids(said)) <= room:
                break
        query = [Example(said + e.text, label=e.label) for e in episode.query]
        return replace(episode, query=(*query, Example(said + CONTENT_FREE, label=episode.labels[0])))

    def text(self, episode: Episode, count: int) -> Episode:
        """The episode's texts after `count` of the support; what is too long is cut where it begins."""
        template = self.head.template
        said = [(template.format(text=e.text) if e.text else "") + (e.target or "") for e in episode.support[:count]]
        query = [replace(e, text="\n\n".join([*said, *([e.text] if e.text else [])])) for e in episode.query]
        return replace(episode, query=tuple(query))


def possible(composed: Composition, drawn: Sequence[Episode]) -> str:
    """Why there are no examples in context; empty where there are."""
    if composed.base.kind == "encoder":
        return f"{composed.base.name} is an encoder, which writes nothing"
    if any(example.messages for example in drawn[0].query):
        return "the texts are dialogues, which hold their own context"
    return ""


def of(episode: Episode, label: str | None) -> list[Example]:
    """The support's examples of a label; of None all that have none."""
    return [example for example in episode.support if example.label == label]
