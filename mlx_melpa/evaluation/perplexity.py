"""Perplexity, and general ability: the bits per byte of general text under an adapted model."""

from collections.abc import Sequence
from functools import cache
from math import log
from pathlib import Path

import numpy as np

from ..config.build import Setup
from ..core.microbatches import chunks
from ..core.types import Array, Episode, Example, Tree
from ..data.readers import read_examples
from ..errors import DataError
from ..problems.language import Language
from ..readouts.completion import completion

GENERAL_TEXT = Path(__file__).with_name("general.txt")
"""Plain sentences on ten subjects, 3 kB, written for this."""
MAX_DOCUMENTS = 64
"""The most documents of a corpus that are read, spread evenly over it, the beginning of each."""
BATCH_SIZE = 16


def general_ability(
    setup: Setup, acting: Array | np.ndarray | None = None, texts: Sequence[Example] = ()
) -> float | None:
    """Bits per byte of general text under the weights in use (P,), or of the base without any; for every readout.

    texts: the package's own by default (see `general_texts`). A text is cut at 256 tokens, and its end counts as one
    more token. None if nothing writes: a problem without a base, or an encoder.
    """
    if setup.base is None or setup.base.kind == "encoder":
        return None
    ops = setup.parts.ops
    reader = Language(ops, setup.model, completion(ops, setup.base.tokenizer))
    acting = reader.identity()[0] if acting is None else acting.reshape(1, -1)[:, : reader.layout.size]
    rows = ops.array(acting) if isinstance(acting, np.ndarray) else acting
    return measure_texts(reader, rows, texts or general_texts(), {})["bits_per_byte"]


@cache
def general_texts(corpus: Path = GENERAL_TEXT) -> tuple[Example, ...]:
    """The texts of a file or folder without labels, at most MAX_DOCUMENTS of them."""
    read = [record.example for record in read_examples(corpus)]
    if any(example.messages for example in read):
        raise DataError(f"{corpus}: holds dialogues; general ability is measured on text, such as a .txt file")
    places = np.linspace(0, len(read) - 1, min(MAX_DOCUMENTS, len(read))).astype(int)
    return tuple(Example("", target=read[i].target or read[i].text, source=read[i].source) for i in places)


def measure_texts(problem: Language, rows: Array, examples: Sequence[Example], shared: Tree) -> dict[str, float]:
    """Loss (nats per token), perplexity and bits_per_byte of examples under a row (1, P)."""
    nats = tokens = nbytes = 0.0
    for part in chunks(examples, BATCH_SIZE):
        batch = problem.support([Episode("", tuple(part), ())])
        count, size = (float(problem.ops.numpy(batch[k]).sum()) for k in ("count", "bytes"))
        nats += float(problem.measure(rows, batch, shared)["loss"][0]) * count
        tokens += count
        nbytes += size
    loss = nats / tokens
    return {"loss": loss, "perplexity": float(np.exp(loss)), "bits_per_byte": nats / nbytes / log(2)}
