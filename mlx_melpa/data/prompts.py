"""Prompts in the form of a user's examples, and rows at a strength."""

from collections.abc import Sequence

import numpy as np

from ..core.bases import Readout, Tokenizer
from ..core.layout import Layout
from ..errors import MelpaError


def scale_rows(layout: Layout, rows: np.ndarray, strength: float) -> np.ndarray:
    """Rows (T, P) whose adapter acts with `strength`: 0 is the base, 1 the adapter as it was made.

    Raises MelpaError for an adapter, such as a prompt or a prefix, that has no factor to scale.
    """
    if strength == 1:
        return rows.astype(np.float32)
    if not any(s.scaled for s in layout.segments):
        raise MelpaError(
            f"strength {strength:g}: this adapter stands before the text and has none; leave it at 1, or compare with "
            "the base"
        )
    factors = np.concatenate([np.full(s.size, strength if s.scaled else 1.0) for s in layout.segments])
    return (rows * factors).astype(np.float32)


def prompt_tokens(readout: Readout, tokenizer: Tokenizer, form: str, turns: Sequence[tuple[str, str]]) -> list[int]:
    """The tokens of a dialogue's last turn as a prompt, in the form of the user's examples.

    form: prompts (the readout's template), messages (the chat template, with all turns), else the text unchanged.
    """
    text = turns[-1][1]
    if form == "messages" or (form == "labels" and getattr(tokenizer, "chat_template", None)):
        said = [{"role": role, "content": content} for role, content in turns]
        return list(tokenizer.apply_chat_template(said, add_generation_prompt=True))
    put = readout.template.format(text=text) if form == "prompts" else text
    return [*readout.encoder.first, *readout.encoder.ids(put)] or [readout.encoder.pad]
