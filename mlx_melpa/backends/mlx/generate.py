"""Writing text with a person's row bound, through mlx-lm."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import mlx.core as mx
import numpy as np

from .adapted import Adapted


def write(
    adapted: Adapted, rows: np.ndarray | None, tokens: Sequence[int], *, max_tokens: int, temp: float, seed: int
) -> Iterator[str]:
    """Yields text piece by piece after prompt tokens, with rows (1, P) bound, or from the base where rows are None."""
    from mlx_lm import stream_generate
    from mlx_lm.sample_utils import make_sampler

    mx.random.seed(seed)
    sampler = make_sampler(temp=temp)
    with nullcontext() if rows is None else adapted.bound(mx.array(rows)):
        model, tokenizer = adapted.base.model, adapted.base.tokenizer
        read = mx.array([list(tokens)])
        prompt = (read if rows is None else adapted.opened(read))[0]
        for piece in stream_generate(model, tokenizer, prompt, max_tokens=max_tokens, sampler=sampler):
            yield piece.text
