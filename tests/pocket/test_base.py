"""The embedded base: what it weighs, that it loads, and how well it predicts."""

from pathlib import Path

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from mlx_melpa.backends.checkpoints import POCKET
from mlx_melpa.pocket.corpus import SPECIAL, documents, load_tokenizer
from mlx_melpa.pocket.evaluate import evaluate

TEXTS = [
    "Plain text.\n\n  Two  spaces\ttab\r\n",
    "naïve café — “quotes” …",
    "日本語のテキスト 中文 한국어",
    "👩‍👩‍👧 🏳️‍🌈 𝔘𝔫𝔦",
    "\x00\x7f\u200b\ufeff",
]


@pytest.fixture(scope="module")
def loaded():
    """The base as mlx-lm loads it: (model, tokenizer)."""
    from mlx_lm import load

    return load(str(POCKET))


def test_the_base_has_6294784_parameters_in_fp16(loaded):
    weights = [p for _, p in tree_flatten(loaded[0].parameters())]
    assert sum(p.size for p in weights) == 6_294_784
    assert {p.dtype for p in weights} == {mx.float16}


def test_the_special_tokens_have_the_ids_0_to_3(loaded):
    _, tokenizer = loaded
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == [0, 1, 2, 3]
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id) == (0, 0, 3)
    assert tokenizer.vocab_size == 6144


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_survives_the_tokenizer(loaded, text):
    ids = loaded[1].encode(text, add_special_tokens=False)
    assert loaded[1].decode(ids, clean_up_tokenization_spaces=False) == text
    plain = load_tokenizer(POCKET)
    assert plain.encode(text).ids == ids
    assert plain.decode(ids) == text


def test_it_answers_a_booking_request(loaded):
    from mlx_lm import generate

    answer = generate(*loaded, "User: I need a restaurant in San Jose.\nAssistant:", max_tokens=16)
    assert "restaurant" in answer


def test_bits_per_byte_on_a_fixed_slice(shared: Path):
    folders = {"sgd_dialogues": 8, "eltec_novels": 2, "english_novels": 2}
    texts = [t for f, n in folders.items() for t in documents([shared / "data" / "corpus" / f], "test")[:n]]
    score = evaluate(POCKET, texts)
    assert (score.tokens, score.size) == (8253, 22974)
    assert score.bits_per_byte == pytest.approx(1.4845, rel=0.02)
