"""Readouts against direct computations: NumPy for prototypes, mlx-lm's own logits for labels and completions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_melpa.adapters.lora import lora
from mlx_melpa.backends.mlx import model, ops
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import DataError
from mlx_melpa.problems.language import Language, language
from mlx_melpa.readouts.completion import completion
from mlx_melpa.readouts.labels import labels
from mlx_melpa.readouts.prototypes import FeatureSettings, prototypes

WORDS = ("the", "little", "dog", "ran", "to", "a", "big", "red", "house", "and", "saw", "one", "happy", "bird", "tree")


Unshared = Callable[[Language], Language]


@pytest.fixture(scope="module")
def stories(shared: Path) -> Adapted:
    base = model.load(str(shared / "models" / "stories260k"))
    return Adapted(base, lora(rank=2, sites=["q_proj", "v_proj"], layers=2))


@pytest.fixture(scope="module")
def plain(shared: Path) -> Any:
    """The same model as mlx-lm loads it, in float32: tokens to log-probabilities (L, V)."""
    import mlx.core as mx
    import mlx_lm

    loaded = mlx_lm.load(str(shared / "models" / "stories260k"))[0]
    loaded.set_dtype(mx.float32)

    def forward(tokens: Any) -> np.ndarray:
        logits = np.array(loaded(mx.array([list(tokens)])))[0].astype(np.float64)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    return forward


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(2, 9)))


def episode(seed: int, names: str = "abc", shots: int = 2, queries: int = 2) -> Episode:
    rng = np.random.default_rng(seed)
    support = [Example(sentence(rng), label=name) for name in names for _ in range(shots)]
    query = [Example(sentence(rng), label=name) for name in names for _ in range(queries)]
    order = rng.permutation(len(support))
    return Episode("e", tuple(support[i] for i in order), tuple(query), tuple(names))


def random_rows(problem: Language, count: int, seed: int = 0) -> np.ndarray:
    """Rows that change the model: both factors of LoRA are drawn."""
    rng = np.random.default_rng(seed)
    rows = np.stack([problem.layout.draw(rng) for _ in range(count)])
    rows[:, : problem.model.layout.size] += 0.1 * rng.standard_normal((count, problem.model.layout.size))
    return rows.astype(np.float32)


def each_alone(problem: Language, rows: np.ndarray, episodes: list[Episode], part: int) -> list[float]:
    alone = []
    for row, one in zip(rows, episodes, strict=True):
        batch = problem.prepare([one])[part]
        alone.append(float(ops.numpy(problem.losses(ops.array(row[None]), batch, {}))[0]))
    return alone


def feature(problem: Language, row: np.ndarray, text: str) -> np.ndarray:
    """The mean last state, then the mean of the first block's output where that is frozen, each of length 1."""
    tokens = ops.array([list(problem.readout.encoder.whole(text))])
    states = [problem.model.hidden(ops.array(row[None]), tokens)]
    states += [problem.model.frozen_states(tokens)[0]] if problem.model.frozen_blocks else []
    means = [ops.numpy(s)[0].mean(0).astype(np.float64) for s in states]
    return np.concatenate([m / np.sqrt(m @ m + 1e-6) for m in means])


def leave_one_out(problem: Language, row: np.ndarray, one: Episode, scored: tuple[Example, ...]) -> np.ndarray:
    """Logits (B, N) by the definition, one example after another."""
    support = [(feature(problem, row, e.text), e) for e in one.support]
    out = np.full((len(scored), len(one.labels)), -1e9)
    for i, example in enumerate(scored):
        f = feature(problem, row, example.text)
        for c, label in enumerate(one.labels):
            members = [g for g, e in support if e.label == label and e is not example]
            if any(e.label == label for _, e in support):
                mean = np.sum(members, axis=0) if members else np.zeros_like(f)
                size = max(float(np.linalg.norm(mean)), 1e-3)
                out[i, c] = np.exp(row[-1]) * (f @ mean) / (np.linalg.norm(f) * size)
    return out


def cross_entropy(logits: np.ndarray, one: Episode, scored: tuple[Example, ...]) -> float:
    place = [one.labels.index(e.label or "") for e in scored]
    top = logits.max(-1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(-1))
    return float((total - logits[np.arange(len(scored)), place]).mean())


@pytest.mark.parametrize("shots", [1, 3])
def test_prototypes_agree_with_a_leave_one_out_loop(stories: Adapted, shots: int, unshared: Unshared) -> None:
    problem = unshared(
        language(ops, stories, prototypes(ops, stories.base.tokenizer, features=FeatureSettings(temperature=7.0)))
    )
    one = episode(1, shots=shots)
    row = random_rows(problem, 1)[0]
    assert row[-1] == pytest.approx(np.log(7.0))
    support, query = problem.prepare([one])
    for batch, scored in ((support, one.support), (query, one.query)):
        found = float(ops.numpy(problem.losses(ops.array(row[None]), batch, {}))[0])
        # Alone in its class, nothing is left to know an example by.
        counted = scored if scored is one.query or shots > 1 else ()
        wanted = cross_entropy(leave_one_out(problem, row, one, counted), one, counted) if counted else 0.0
        assert found == pytest.approx(wanted, rel=2e-3)
    answers = problem.measure(ops.array(row[None]), query, {})
    logits = leave_one_out(problem, row, one, one.query)
    right = [one.labels[a] == e.label for a, e in zip(logits.argmax(-1), one.query, strict=True)]
    assert answers["accuracy"][0] == pytest.approx(np.mean(right))


@pytest.mark.parametrize("kind", ["prototypes", "labels"])
def test_ragged_tasks_in_one_pass_equal_each_alone(stories: Adapted, kind: str, unshared: Unshared) -> None:
    readout = {"prototypes": prototypes, "labels": labels}[kind](ops, stories.base.tokenizer)
    problem = unshared(language(ops, stories, readout))
    # Fewer labels, fewer examples, fewer queries: all padded.
    episodes = [episode(1, "abc", 3, 2), episode(2, "ab", 1, 3), episode(3, "abcd", 2, 1)]
    rows = random_rows(problem, 3)
    for part, batch in enumerate(problem.prepare(episodes)):
        together = ops.numpy(problem.losses(ops.array(rows), batch, {}))
        np.testing.assert_allclose(together, each_alone(problem, rows, episodes, part), rtol=2e-4)
    query = problem.prepare(episodes)[1]
    measured = problem.measure(ops.array(rows), query, {})
    np.testing.assert_allclose(measured["loss"], ops.numpy(problem.losses(ops.array(rows), query, {})), rtol=1e-4)
    for t, one in enumerate(episodes):
        alone = problem.measure(ops.array(rows[t : t + 1]), problem.prepare([one])[1], {})
        assert measured["accuracy"][t] == pytest.approx(alone["accuracy"][0])


def test_padded_tasks_have_gradients_of_their_own_rows_alone(stories: Adapted, unshared: Unshared) -> None:
    problem = unshared(language(ops, stories, prototypes(ops, stories.base.tokenizer)))
    episodes = [episode(1, "abc", 3, 1), episode(2, "ab", 2, 1)]
    rows = random_rows(problem, 2)
    support, _ = problem.prepare(episodes)
    both = ops.numpy(ops.grad(lambda r: problem.losses(r, support, {}).sum(), ops.array(rows)))
    assert np.isfinite(both).all()
    for t in range(2):
        one = problem.prepare(episodes[t : t + 1])[0]
        alone = ops.numpy(ops.grad(lambda r, one=one: problem.losses(r, one, {}).sum(), ops.array(rows[t : t + 1])))[0]
        assert np.linalg.norm(both[t] - alone) <= 1e-3 * np.linalg.norm(alone) + 1e-6


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
