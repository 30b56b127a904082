"""BLEU and ROUGE-L by hand, and what is asked to be written."""

from pathlib import Path

import numpy as np
import pytest

from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import recipe_of
from mlx_melpa.core.types import Episode, Example
from mlx_melpa.errors import MelpaError
from mlx_melpa.evaluation import text_overlap as overlap
from mlx_melpa.evaluation.baselines.in_context import InContext

LINE = Example("", target="once upon a time")
QUESTION = Example("who was it", target="a dog")


@pytest.fixture(scope="module")
def setup(shared: Path) -> Setup:
    tree = {
        "model": str(shared / "models" / "stories260k"),
        "adapter": {"kind": "lora", "rank": 8, "sites": ["q_proj", "v_proj", "up_proj", "down_proj"], "layers": "all"},
        "tasks": "synthetic",
        "readout": {"kind": "completion", "max_length": 32},
        "learner": {"kind": "fomaml", "steps": 3},
    }
    return compose(recipe_of(tree, "small"))


def test_scores_by_hand() -> None:
    # of "the cat sat" 3 of 3 words, 2 of 2 pairs, 1 of 1 triple and no four; 3 words instead of 4
    found = overlap.scores(" the cat sat\n", "the cat sat down")
    assert found["bleu"] == pytest.approx(np.exp(1 - 4 / 3))
    assert found["rouge_l"] == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert overlap.scores("a b c d", "d c b a")["rouge_l"] == pytest.approx(0.25), "one word in order"
    assert overlap.scores("", "a b") == {"bleu": 0.0, "rouge_l": 0.0}
    assert overlap.scores("Привет, Мир", "привет мир")["rouge_l"] == 1, "words of any script"
    assert overlap.scores("a b c d e", "a b c d e") == pytest.approx({"bleu": 1.0, "rouge_l": 1.0})


def test_a_line_is_written_on_and_a_question_answered(setup: Setup) -> None:
    head, first = setup.readout, list(setup.readout.encoder.first)
    ids = head.encoder.ids
    assert overlap.halves("one  two three") == ("one", "  two three") and overlap.halves("one") == ("", "one")
    assert overlap.opening(head, LINE, LINE, 30) == ([*first, *ids("once upon")], " a time")
    assert overlap.opening(head, QUESTION, QUESTION, 30) == ([*first, *ids("who was it\n")], "a dog")
    cut, _ = overlap.opening(head, QUESTION, QUESTION, 4)
    assert cut == [*first, *ids("who was it\n")][:1] + [*ids("who was it\n")][-3:]
    word = Example("", target="once")
    assert overlap.opening(head, word, word, 30) == (first, "once")


def test_a_row_s_writing_is_greedy_and_its_own(setup: Setup) -> None:
    ops, layout = setup.parts.ops, setup.layout
    read = list(setup.readout.encoder.first) + list(setup.readout.encoder.ids("once upon"))
    row = (0.3 * np.random.default_rng(0).standard_normal((1, layout.size))).astype(np.float32)
    rows = {"base": None, "unchanged": ops.numpy(setup.problem.identity()[0]), "changed": row}
    said = {name: overlap.write(setup, r, LINE, LINE, setup.readout)[0] for name, r in rows.items()}
    assert said["base"] == said["unchanged"] != said["changed"]
    tokens, end = list(read), setup.base.tokenizer.eos_token_id
    for _ in range(16):
        whole = ops.array([tokens])
        logits = setup.model.logits(ops.array(row), whole, ops.array(np.array([len(tokens) - 1])))
        tokens.append(int(ops.numpy(logits)[0].argmax()))
        if tokens[-1] == end:
            break
    wanted = setup.base.tokenizer.decode([t for t in tokens[len(read) :] if t != end])
    assert said["changed"].strip() == wanted.strip()


def test_every_task_is_written_for_by_its_own_row(setup: Setup) -> None:
    texts = ["the cat sat on the red mat", "a dog ran up a green hill"]
    drawn = [Episode("", (Example("", target=text),) * 4, (Example("", target=text),)) for text in texts]
    baseline = setup.random_start(0.01)
    before, after = (overlap.adapted(baseline, baseline.begin(0), drawn, steps) for steps in (0, 30))
    assert len(before["bleu"]) == len(after["rouge_l"]) == 2
    assert overlap.means(after)["rouge_l"] > 0.5 > overlap.means(before)["rouge_l"], "half learned by heart"
    alone = overlap.adapted(baseline, baseline.begin(0), drawn[1:], 30)
    assert alone["bleu"] == pytest.approx(after["bleu"][1:])


def test_examples_stand_before_what_is_written_in_context(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, seen = InContext(setup), []
    episode = Episode("", (QUESTION, QUESTION), (LINE,))
    engine = overlap.part_of("mlx", "generate")

    def write(model: object, rows: object, tokens: list[int], **settings: object) -> list[str]:
        seen.append((rows, setup.base.tokenizer.decode(tokens)))
        return ["a ", "time"]

    monkeypatch.setattr(engine, "write", write)
    found = overlap.in_context(asked, [episode], 1)
    assert overlap.means(found) == pytest.approx({"bleu": 1.0, "rouge_l": 1.0})
    ((rows, text),) = seen
    assert rows is None and text.split() == ["<s>", "who", "was", "it", "a", "dog", "once", "upon"]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    overlap.check_packages()
    monkeypatch.setattr(overlap, "find_spec", lambda name: None)
    with pytest.raises(MelpaError, match=r"pip install 'mlx-melpa\[text\]'"):
        overlap.check_packages()
