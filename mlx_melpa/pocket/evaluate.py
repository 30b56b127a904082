"""The loss of a base on text: nats per token and bits per byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np

from ..backends.mlx import install, mx, nn
from ..errors import ModelError
from .corpus import END, load_tokenizer, stream


@dataclass(frozen=True)
class Score:
    """Mean loss of a text; `tokens` counts the <|endoftext|> after each document, `size` UTF-8 bytes without them."""

    nats_per_token: float
    bits_per_byte: float
    tokens: int
    size: int


def loss(model: nn.Module, sequences: mx.array) -> mx.array:
    """Cross-entropy in nats (B, L) of sequences (B, L + 1), each token after the first from those before it."""
    logits = model(sequences[:, :-1]).astype(mx.float32)
    return nn.losses.cross_entropy(logits, sequences[:, 1:])


def number(value: mx.array) -> float:
    """A scalar array as a Python number."""
    return float(np.array(value))


def evaluate(folder: Path, texts: Sequence[str], context: int = 256, batch: int = 16) -> Score:
    """Scores the model of `folder` on texts, in fp32.

    Documents are joined by <|endoftext|> and cut into windows of `context` predicted tokens that do not share
    context; the first window begins with <|endoftext|>, each later one with the last token of the one before, so that
    every token is predicted exactly once.
    """
    from mlx_lm.utils import load_model

    install()
    if not (Path(folder) / "config.json").is_file():
        raise ModelError(f"no model in {folder}; give a folder that the training script wrote")
    model, _ = load_model(Path(folder))
    model.set_dtype(mx.float32)
    ids = np.concatenate([[END], stream(load_tokenizer(folder), texts)]).astype(np.int32)
    count, total = len(ids) - 1, 0.0
    whole = count // context
    windows = np.lib.stride_tricks.sliding_window_view(ids, context + 1)[::context][:whole]
    for start in range(0, whole, batch):
        total += number(loss(model, mx.array(windows[start : start + batch])).sum())
    if count % context:
        total += number(loss(model, mx.array(ids[None, whole * context :])).sum())
    size = sum(len(text.encode()) for text in texts)
    return Score(total / max(count, 1), total / log(2) / max(size, 1), count, size)
