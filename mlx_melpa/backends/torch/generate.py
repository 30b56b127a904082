"""Writing text with a person's row bound, token by token."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch

from ...errors import ModelError
from .adapted import Adapted
from .device import autocast, device
from .model import Base


def write(
    adapted: Adapted, rows: np.ndarray | None, tokens: Sequence[int], *, max_tokens: int, temp: float, seed: int
) -> Iterator[str]:
    """Yields text piece by piece after prompt tokens, with rows (1, P) bound, or from the base where rows are None.

    Raises ModelError for an encoder, which can't write.
    """
    base, tokenizer = adapted.base, adapted.base.tokenizer
    if base.kind == "encoder":
        raise ModelError(f"{base.name} is an encoder, which reads but can't write; take a causal model")
    source = torch.Generator(device).manual_seed(seed)
    bound = nullcontext() if rows is None else adapted.bound(torch.from_numpy(rows).to(device))
    said: list[int] = []
    shown = ""
    with bound, torch.no_grad(), autocast():
        read = torch.tensor([list(tokens)], device=device)
        for token in _tokens(base, read if rows is None else adapted.opened(read), max_tokens, temp, source):
            said.append(token)
            text = tokenizer.decode(said)
            # a character may need several tokens: what is not whole yet waits
            if not text.endswith("\N{REPLACEMENT CHARACTER}") and len(text) > len(shown):
                yield text[len(shown) :]
                shown = text


def _tokens(base: Base, ids: torch.Tensor, most: int, temp: float, source: torch.Generator) -> Iterator[int]:
    end, past = base.tokenizer.eos_token_id, None
    encoded: dict[str, object] = {}
    if base.kind == "encoder-decoder":
        encoded["encoder_outputs"] = base.model.get_encoder()(input_ids=ids)
        ids = torch.tensor([[base.model.config.decoder_start_token_id]], device=device)
    name = "decoder_input_ids" if encoded else "input_ids"
    for _ in range(most):
        out = base.model(**{name: ids}, past_key_values=past, use_cache=True, **encoded)
        past, scores = out.past_key_values, out.logits[0, -1].float()
        if temp > 0:
            token = int(torch.multinomial(torch.softmax(scores / temp, -1), 1, generator=source))
        else:
            token = int(scores.argmax())
        if token == end:
            return
        yield token
        ids = torch.tensor([[token]], device=device)
