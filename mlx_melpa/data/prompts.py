"""What stands before the writing, on every engine: a row at a strength, and a prompt as examples were put."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.layout import Layout
from ..errors import MelpaError

SECOND = (".lora_b", ".up", ".up_bias", ".delta")
"""The factor of each adapter that its whole update is proportional to."""
PLACES = {"prompt": "soft prompt", "keys": "prefix"}
"""Weights that stand before the text, and what they are called."""


def weakened(layout: Layout, rows: np.ndarray, strength: float) -> np.ndarray:
    """Rows (T, P) whose adapter acts with `strength`: 0 is the base, 1 the adapter as it was made.

    Raises MelpaError for a soft prompt or a prefix at any other: they stand there or not.
    """
    there = [PLACES[last] for s in layout.segments if (last := s.name.rsplit(".", 1)[-1]) in PLACES]
    if strength != 1 and there:
        raise MelpaError(f"strength {strength:g}: a {there[0]} has none; leave it at 1, or compare with the base")
    share = np.concatenate([np.full(s.size, strength if s.name.endswith(SECOND) else 1.0) for s in layout.segments])
    return (rows * share).astype(np.float32)


def prompt_tokens(readout: Any, tokenizer: Any, form: str, turns: Sequence[tuple[str, str]]) -> list[int]:
    """The tokens of a dialogue's last question, put as the person's examples were put.

    form: prompts (by the readout's template), messages (by the chat template, with all turns), else the text as it is.
    """
    text = turns[-1][1]
    if form == "messages" or (form == "labels" and getattr(tokenizer, "chat_template", None)):
        said = [{"role": role, "content": content} for role, content in turns]
        return list(tokenizer.apply_chat_template(said, add_generation_prompt=True))
    put = readout.template.format(text=text) if form == "prompts" else text
    return [*readout.encoder.first, *readout.encoder.ids(put)] or [readout.encoder.pad]
