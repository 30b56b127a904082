"""General ability: how well a base still predicts plain text under a row, in bits per byte."""

from collections.abc import Sequence
from functools import cache
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from ..config.build import Composition
from ..core.microbatches import chunks
from ..core.types import Array, Episode, Example, Tree
from ..data.readers import read_examples
from ..errors import DataError
from ..problems.language import Language
from ..readouts.completion import completion

OWN = Path(__file__).with_name("general.txt")
"""Plain sentences on ten subjects, 3 kB, written for this."""
MOST = 64
"""Documents of a corpus that are read, spread evenly over it, the beginning of each."""
AT_ONCE = 16


def general(
    composed: Composition, acting: Array | np.ndarray | None = None, texts: Sequence[Example] = ()
) -> float | None:
    """Bits per byte of plain text under the weights in use (P,), whatever the readout is; without any, of the base.

    `texts` are the package's own unless given (see `plain`). A text is cut at 256 tokens, and its end counts as one
    more token. None where there is nothing that writes: a problem without a base, or an encoder.
    """
    if composed.base is None or composed.base.kind == "encoder":
        return None
    ops = composed.parts.ops
    reader = Language(ops, composed.model, completion(ops, composed.base.tokenizer))
    acting = reader.identity()[0] if acting is None else acting.reshape(1, -1)[:, : reader.layout.size]
    rows = ops.array(acting) if isinstance(acting, np.ndarray) else acting
    return written(reader, rows, texts or plain(), {})["bits_per_byte"]


@cache
def plain(corpus: Path = OWN) -> tuple[Example, ...]:
    """The texts of a file or folder, labels left out, MOST of them at most."""
    read = [record.example for record in read_examples(corpus)]
    if any(example.messages for example in read):
        raise DataError(f"{corpus}: holds dialogues; general ability is measured on plain text, such as a .txt file")
    places = np.linspace(0, len(read) - 1, min(MOST, len(read))).astype(int)
    return tuple(Example("", target=read[i].target or read[i].text, source=read[i].source) for i in places)


def written(problem: Any, rows: Array, examples: Sequence[Example], shared: Tree) -> dict[str, float]:
    """Loss (nats per token), perplexity and bits_per_byte of examples that a row (1, P) is to write."""
    nats = tokens = spelled = 0.0
    for part in chunks(examples, AT_ONCE):
        batch = problem.support([Episode("", tuple(part), ())])
        count, size = (float(problem.ops.numpy(batch[k]).sum()) for k in ("count", "bytes"))
        nats += float(problem.measure(rows, batch, shared)["loss"][0]) * count
        tokens, spelled = tokens + count, spelled + size
    loss = nats / tokens
    return {"loss": loss, "perplexity": float(np.exp(loss)), "bits_per_byte": nats / spelled / log(2)}
