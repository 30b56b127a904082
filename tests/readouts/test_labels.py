"""Label words against mlx-lm's own logits."""

from typing import Any

import numpy as np
import pytest

from mlx_melpa.backends.mlx import ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError
from mlx_melpa.problems.language import language
from mlx_melpa.readouts.labels import labels


def test_label_words_are_scored_by_their_mean_log_probability(stories: Adapted, plain: Any) -> None:
    tokenizer = stories.base.tokenizer
    readout = labels(ops, tokenizer, template="{text} is")
    problem = language(ops, stories, readout)
    one = Episode(
        "e",
        (Example("the dog", label="big"),),
        (Example("one bird", label="wonderful"),),
        ("big", "wonderful", "house_cat"),
    )
    row = problem.layout.draw(np.random.default_rng(0))[None]  # B = 0: the base itself
    _, query = problem.prepare([one])
    found = ops.numpy(readout.scores(stories, problem.weights(ops.array(row), {}), query))[0, 0]
    first = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
    lengths = set()
    for score, word in zip(found, (" big", " wonderful", " house cat"), strict=True):
        prompt = (*first, *tokenizer.encode("one bird", add_special_tokens=False))
        prompt += tuple(tokenizer.encode(" is", add_special_tokens=False))
        ids = tokenizer.encode(word, add_special_tokens=False)
        logp = plain((*prompt, *ids))
        wanted = np.mean([logp[len(prompt) - 1 + i, token] for i, token in enumerate(ids)])
        assert score == pytest.approx(wanted, abs=2e-4)
        lengths.add(len(ids))
    assert max(lengths) > 1
    probabilities = ops.numpy(problem.predict(ops.array(row), query, {}))[0, 0]
    np.testing.assert_allclose(probabilities, np.exp(found) / np.exp(found).sum(), rtol=1e-4)


def test_letters_stand_for_labels_in_their_order(stories: Adapted) -> None:
    readout = labels(ops, stories.base.tokenizer, words="letters")
    assert readout.candidates(("late", "early")) == [" A", " B"]
    with pytest.raises(DataError, match=r"27 labels are more than the 26 letters; set readout\.words: own"):
        readout.candidates([str(i) for i in range(27)])
