"""Completions against mlx-lm's own logits, and messages through a chat template."""

from typing import Any

import numpy as np
import pytest
from toys.texts import WORDS, each_alone, random_rows, sentence

from mlx_melpa.backends.mlx import model, ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError
from mlx_melpa.problems.language import language
from mlx_melpa.readouts.completion import completion
from mlx_melpa.readouts.labels import labels


def people(seed: int, lines: int = 3) -> Episode:
    rng = np.random.default_rng(seed)
    made = [Example(sentence(rng) if i % 2 else "", target=sentence(rng)) for i in range(2 * lines)]
    return Episode("p", tuple(made[:lines]), tuple(made[lines:]))


def test_completion_agrees_with_a_plain_forward_pass(stories: Adapted, plain: Any) -> None:
    tokenizer = stories.base.tokenizer
    problem = language(ops, stories, completion(ops, tokenizer, template="{text}\n"))
    one = people(4)
    _, query = problem.prepare([one])
    measured = problem.measure(ops.array(problem.layout.draw(np.random.default_rng(0))[None]), query, {})
    nats, count, spelled = 0.0, 0, 0
    ends = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    for example in one.query:
        before = tokenizer.encode(example.text + "\n", add_special_tokens=False) if example.text else []
        head = (*(() if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)), *before)
        tail = (*tokenizer.encode(example.target, add_special_tokens=False), *ends)
        logp = plain((*head, *tail))
        nats -= sum(logp[len(head) - 1 + i, token] for i, token in enumerate(tail))
        count += len(tail)
        spelled += len((example.target or "").encode())
    assert measured["loss"][0] == pytest.approx(nats / count, rel=1e-4)
    assert measured["perplexity"][0] == pytest.approx(np.exp(nats / count), rel=1e-3)
    assert measured["bits_per_byte"][0] == pytest.approx(nats / np.log(2) / spelled, rel=0.02)


def test_people_in_one_pass_equal_each_alone(stories: Adapted) -> None:
    problem = language(ops, stories, completion(ops, stories.base.tokenizer))
    episodes = [people(1, 2), people(2, 4), people(3, 1)]
    rows = random_rows(problem, 3)
    for part, batch in enumerate(problem.prepare(episodes)):
        together = ops.numpy(problem.losses(ops.array(rows), batch, {}))
        np.testing.assert_allclose(together, each_alone(problem, rows, episodes, part), rtol=2e-4)


def test_lengths_far_apart_are_read_apart_and_come_to_the_same(stories: Adapted) -> None:
    problem = language(ops, stories, completion(ops, stories.base.tokenizer))
    words = [(" ".join(WORDS[:3]) + " ") * n for n in (40, 1, 2, 30, 1, 2, 1, 35)]
    episodes = [Episode("p", tuple(Example("a", target=text) for text in words[t:]), ()) for t in (0, 1)]
    rows = random_rows(problem, 2)
    batch = problem.readout._batch([one.support for one in episodes])
    sizes = [part["tokens"].shape for part in batch["parts"]]
    assert len(sizes) > 1 and sum(a * b for a, b in sizes) < 0.6 * 16 * max(b for _, b in sizes)
    together = ops.numpy(problem.losses(ops.array(rows), problem._ready(batch), {}))
    for t, one in enumerate(episodes):
        each = [problem._ready(problem.readout._batch([(example,)])) for example in one.support]
        counts = [float(alone["count"].sum()) for alone in each]
        losses = [float(problem.losses(ops.array(rows[t : t + 1]), alone, {})) for alone in each]
        assert together[t] == pytest.approx(np.average(losses, weights=counts), rel=2e-4)


def test_what_has_no_target_is_refused_by_its_place(stories: Adapted) -> None:
    readout = completion(ops, stories.base.tokenizer)
    with pytest.raises(DataError, match="here:3: nothing to write after the text"):
        readout.tokens(Example("only a text", label="x", source="here:3"))
    for builder in (labels, completion):
        with pytest.raises(DataError, match=r"readout\.template: 'no place' has no \{text\}"):
            builder(ops, stories.base.tokenizer, template="no place")


TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}|{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = (("user", "the dog"), ("assistant", "a bird"), ("user", "one tree"), ("assistant", "big red house"))


def test_messages_need_a_chat_template() -> None:
    tokenizer = model.load("pocket").tokenizer
    with pytest.raises(DataError, match=r"there:1: 'messages' need a tokenizer with a chat template"):
        completion(ops, tokenizer).tokens(Example("", messages=TALK, source="there:1"))


def test_every_assistant_turn_is_supervised_through_the_template() -> None:
    tokenizer = model.load("pocket").tokenizer
    tokenizer.chat_template = TEMPLATE
    readout = completion(ops, tokenizer)
    tokens, spans = readout.tokens(Example("", messages=TALK, source="there:1"))
    assert [tokenizer.decode(list(tokens[a:b])) for a, b in spans] == ["a bird|", "big red house|"]
    whole = "<user>the dog|<assistant>a bird|<user>one tree|<assistant>big red house|"
    assert tokenizer.decode(list(tokens)) == whole
    cut = completion(ops, tokenizer, max_length=spans[0][1])
    assert cut.tokens(Example("", messages=TALK))[1] == spans[:1]
    short = completion(ops, tokenizer, max_length=2)
    with pytest.raises(DataError, match="no assistant turn lies within 2 tokens"):
        short.tokens(Example("", messages=TALK, source="there:1"))
