"""General ability: the base's own under a zero row, as mlx-lm's model says it, under any readout and row."""

from math import log
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.core.types import Example
from mlx_melpa.errors import DataError
from mlx_melpa.evaluation.perplexity import MAX_DOCUMENTS, general_ability, general_texts

READOUTS = ("{kind: prototypes, metric: plain}", "{kind: prototypes, metric_episodes: 0}", "labels", "completion")


def composed_of(shared: Path, folder: Path, readout: str, more: str = "") -> Setup:
    path = folder / "r.yaml"
    path.write_text(
        f"model: {shared}/models/stories260k\nadapter: {{kind: lora, rank: 2, layers: 2}}\ntasks: synthetic\n"
        f"readout: {readout}\nlearner: {{kind: fomaml, steps: 1}}\n{more}"
    )
    return compose(load_recipe(path))


def expected(model: Any, tokenizer: Any, texts: list[str]) -> float:
    """Bits per byte by mlx-lm's model, called directly on one text after another."""
    nats = 0.0
    for text in texts:
        ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        logits = np.array(model(mx.array([ids[:-1]])).astype(mx.float32))[0].astype(np.float64)
        top = logits.max(-1, keepdims=True)
        chances = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
        nats -= chances[np.arange(len(ids) - 1), ids[1:]].sum()
    return nats / log(2) / sum(len(text.encode()) for text in texts)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_zero_row_is_the_base_as_mlx_lm_has_it(shared: Path, tmp_path: Path, readout: str) -> None:
    from mlx_lm.utils import load

    setup = composed_of(shared, tmp_path, readout)
    zero = general_ability(setup, np.zeros((1, setup.layout.size), np.float32))
    assert zero == pytest.approx(general_ability(setup), rel=1e-6)
    model, tokenizer = load(str(shared / "models/stories260k"))[:2]
    texts = [example.target or "" for example in general_texts()]
    assert zero == pytest.approx(expected(model, tokenizer, texts), rel=1e-4)


def test_a_row_that_writes_another_way_is_told_apart(shared: Path, tmp_path: Path) -> None:
    setup = composed_of(shared, tmp_path, "labels")
    row = np.random.default_rng(0).normal(0, 0.5, (1, setup.layout.size)).astype(np.float32)
    found = [general_ability(setup, given) for given in (None, row, setup.parts.ops.array(row))]
    assert found[1] == found[2] and found[1] > found[0] + 0.1
    short = [Example("", target="Once upon a time there was a little girl.")]
    assert general_ability(setup, texts=short) < general_ability(setup) - 0.3, "what this base was trained on"


def test_where_nothing_writes_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("problem: regression\ntasks: sinusoid\nlearner: maml\n")
    assert general_ability(compose(load_recipe(path))) is None


def test_plain_texts_are_read_evenly_and_without_labels(tmp_path: Path) -> None:
    assert 8 <= len(general_texts()) <= 20 and 2500 < sum(len(e.target or "") for e in general_texts()) < 4000
    (tmp_path / "long.txt").write_text("".join(f"line {i}\n" for i in range(1000)))
    read = [e.target for e in general_texts(tmp_path / "long.txt")]
    assert len(read) == MAX_DOCUMENTS and (read[0], read[-1]) == ("line 0", "line 999")
    (tmp_path / "said.jsonl").write_text('{"messages": [{"role": "assistant", "content": "Hello."}]}\n')
    with pytest.raises(DataError, match="holds dialogues"):
        general_texts(tmp_path / "said.jsonl")
    (tmp_path / "labelled.jsonl").write_text('{"text": "A text.", "label": "x"}\n')
    assert general_texts(tmp_path / "labelled.jsonl")[0].target == "A text."
