"""The training script, on a model of a few thousand numbers."""

import gzip
import json
from math import log
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_melpa.errors import DataError, MelpaError, ModelError
from mlx_melpa.pocket import corpus
from mlx_melpa.pocket.evaluate import evaluate
from mlx_melpa.pocket.fit import Plan, Size, Training, sequences
from mlx_melpa.pocket.train import train

SIZE = Size(vocabulary=300, width=32, layers=2, heads=2, kv_heads=1, feed_forward=64, context=16)
PLAN = Plan(steps=20, batch=4, lr=1e-2, warmup=2, every=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus of generated sentences, the same for training and test."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = [
        json.dumps({"text": f"The {a} cat {v} the dog — 猫."})
        for a in ("red", "old", "wet")
        for v in ("saw", "met", "bit")
    ]
    for part in ("train", "test"):
        with gzip.open(folder / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(lines * 7))
    return folder


@pytest.fixture(scope="module")
def ids(folder) -> np.ndarray:
    texts = corpus.documents([folder], "train")
    return corpus.stream(corpus.train_tokenizer(texts, SIZE.vocabulary), texts, 0)


def test_twenty_steps_lower_the_loss_and_mlx_lm_loads_the_result(folder, tmp_path):
    from mlx_lm import load

    train([folder], tmp_path / "out", SIZE, PLAN)
    model, tokenizer = load(str(tmp_path / "out"))
    assert {p.dtype for _, p in tree_flatten(model.parameters())} == {mx.float16}
    assert tokenizer.decode(tokenizer.encode("wet 猫 🐈")) == "wet 猫 🐈"
    score = evaluate(tmp_path / "out", corpus.documents([folder], "test"), SIZE.context)
    assert score.nats_per_token < 0.7 * log(SIZE.vocabulary)
    assert score.bits_per_byte == pytest.approx(score.nats_per_token * score.tokens / log(2) / score.size)
    assert not (tmp_path / "out" / "training").exists()
    with pytest.raises(MelpaError, match="holds a finished model; choose another --out"):
        train([folder], tmp_path / "out", SIZE, PLAN)


def test_an_untrained_model_predicts_about_evenly(folder, ids, tmp_path):
    Training(SIZE, PLAN).write(tmp_path)
    texts = corpus.documents([folder], "train")
    corpus.save_tokenizer(corpus.train_tokenizer(texts, SIZE.vocabulary), tmp_path, SIZE.context)
    assert evaluate(tmp_path, texts, SIZE.context).nats_per_token == pytest.approx(log(SIZE.vocabulary), rel=0.01)


def test_a_resumed_run_ends_where_an_unbroken_one_does(ids, tmp_path):
    whole = Training(SIZE, PLAN)
    steps = [at.step for at in whole.run(ids)]
    assert steps == [5, 10, 15, 20]
    broken = Training(SIZE, PLAN)
    next(broken.run(ids))
    broken.save(tmp_path / "checkpoint.safetensors")
    resumed = Training(SIZE, PLAN)
    resumed.resume(tmp_path / "checkpoint.safetensors")
    assert [at.step for at in resumed.run(ids)] == [10, 15, 20]
    pairs = zip(tree_flatten(whole.weights), tree_flatten(resumed.weights), strict=True)
    assert all(mx.array_equal(a, b) for (_, a), (_, b) in pairs)


def test_another_plan_cannot_resume(tmp_path):
    Training(SIZE, PLAN).save(tmp_path / "checkpoint.safetensors")
    with pytest.raises(ModelError, match="a run with other settings"):
        Training(SIZE, Plan(steps=21)).resume(tmp_path / "checkpoint.safetensors")


def test_the_rate_warms_up_stays_and_falls_to_two_percent():
    plan = Plan(steps=1000, lr=1.0, warmup=100)
    rates = [plan.rate(step, step / 1000) for step in (0, 49, 99, 600, 800, 1000)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 1.0, 0.51, 0.02])


def test_an_epoch_shows_every_window_once(ids):
    windows = (len(ids) - 1) // SIZE.context
    per_epoch = windows // PLAN.batch
    seen = np.concatenate([sequences(ids, step, PLAN, SIZE.context) for step in range(per_epoch)])
    starts = {tuple(row) for row in seen}
    whole = {tuple(ids[i * 16 : i * 16 + 17].tolist()) for i in range(windows)}
    assert starts <= whole
    assert len(seen) == per_epoch * PLAN.batch
    assert not np.array_equal(sequences(ids, 0, PLAN, 16), sequences(ids, per_epoch, PLAN, 16))


def test_bad_corpora_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no corpus part .*train\.jsonl\.gz"):
        corpus.documents([tmp_path], "train")
    with gzip.open(tmp_path / "train.jsonl.gz", "wt") as file:
        file.write('{"text": "good"}\n{"txt": "bad"}\n')
    with pytest.raises(DataError, match=r'train\.jsonl\.gz:2: expected {"text"'):
        corpus.documents([tmp_path], "train")
    with pytest.raises(DataError, match="a batch needs 4: add text"):
        sequences(np.zeros(40, np.uint16), 0, PLAN, SIZE.context)
