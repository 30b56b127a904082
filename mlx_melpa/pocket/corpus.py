"""Text for a base, its byte-level tokenizer, and the stream of tokens that a model reads."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|pad|>")
END = 0
"""The id of <|endoftext|>, which stands between documents."""


def documents(folders: Sequence[Path], part: str) -> list[str]:
    """Reads the texts of PART.jsonl.gz ({"text": ...} a line) of each folder, in order.

    Raises DataError for a missing file or a malformed line, named by number.
    """
    texts = []
    for folder in folders:
        path = Path(folder) / f"{part}.jsonl.gz"
        if not path.is_file():
            raise DataError(f"no corpus part {path}; give a folder with train.jsonl.gz and test.jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    texts.append(json.loads(line)["text"])
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(f'{path}:{number}: expected {{"text": ...}}; correct or remove the line') from error
    return texts


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> "Tokenizer":
    """Trains a byte-level BPE tokenizer that covers any UTF-8 text; ids 0 to 3 are the special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(folder: Path) -> "Tokenizer":
    """Reads the tokenizer of a model's folder."""
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"no tokenizer {path}; give a folder that the training script wrote")
    return Tokenizer.from_file(str(path))


def save_tokenizer(tokenizer: "Tokenizer", folder: Path, context: int) -> None:
    """Writes the two tokenizer files that `mlx_lm.load` reads."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[END],
        "bos_token": SPECIAL[END],
        "pad_token": "<|pad|>",
        "model_max_length": context,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def stream(tokenizer: "Tokenizer", texts: Sequence[str], seed: int | None = None) -> np.ndarray:
    """Joins documents into one stream of ids (N,), uint16, <|endoftext|> after each; `seed` shuffles the documents."""
    order = np.arange(len(texts)) if seed is None else np.random.default_rng(seed).permutation(len(texts))
    pieces = []
    for start in range(0, len(order), 1024):
        for encoding in tokenizer.encode_batch_fast([texts[i] for i in order[start : start + 1024]]):
            pieces.append(np.array([*encoding.ids, END], np.uint16))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.uint16)
