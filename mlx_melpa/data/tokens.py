"""Tokenization: texts to padded token arrays."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..core.bases import Tokenizer
from ..errors import DataError

TOKENS = 16_384
"""Most tokens of one pass, if there are more than EXACT examples."""
EXACT = 256
"""Up to so many examples are cut into passes with the least padding."""


class Encoder:
    """A tokenizer with a length limit and a cache.

    `first` and `last` are the tokens for the beginning and the end of a text; empty if the tokenizer has none.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int):
        self.tokenizer, self.max_length = tokenizer, max_length
        self.first: tuple[int, ...] = () if tokenizer.bos_token_id is None else (int(tokenizer.bos_token_id),)
        self.last: tuple[int, ...] = () if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),)
        self.pad = padding(tokenizer)
        self.ids = lru_cache(maxsize=200_000)(self._ids)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(int(i) for i in self.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def whole(self, text: str) -> tuple[int, ...]:
        """Tokens of a text with its beginning token, cut at the limit; never empty."""
        ids = (*self.first, *self.ids(text))[: self.max_length]
        return ids or (self.pad,)

    def pair(self, before: str, after: str) -> tuple[tuple[int, ...], int]:
        """Tokens of `before` and `after` with both special tokens, and the index where `after` begins (at least 1).

        Long texts are cut: `before` at its start, then `after` at its end, so that supervised tokens remain.
        """
        tail = (*self.ids(after), *self.last)[: self.max_length - 1]
        head = (*self.first, *self.ids(before)) or (self.pad,)
        room = self.max_length - len(tail)
        head = head if len(head) <= room else (*head[: len(self.first)], *head[len(head) - room + len(self.first) :])
        return (*head[:room], *tail), len(head[:room])

    def chat(self, messages: Sequence[tuple[str, str]], source: str) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """Tokens of a dialogue by the tokenizer's chat template, and the spans [a, b) of the assistant's turns.

        Raises DataError if the tokenizer has no template, or one that changes earlier turns.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise DataError(
                f"{source}: 'messages' need a tokenizer with a chat template, and this base has none; "
                'give {"prompt", "completion"} instead'
            )
        spans, ids = [], self._template(messages, False)
        for i, (role, _) in enumerate(messages):
            if role == "assistant":
                before, after = self._template(messages[:i], True), self._template(messages[: i + 1], False)
                if after[: len(before)] != before or ids[: len(after)] != after:
                    raise DataError(f"{source}: this base's chat template rewrites earlier turns; give one turn a line")
                spans.append((len(before), min(len(after), self.max_length)))
        kept = [(a, b) for a, b in spans if a < b]
        if not kept:
            raise DataError(f"{source}: no assistant turn lies within {self.max_length} tokens")
        return ids[: self.max_length], kept

    def _template(self, messages: Sequence[tuple[str, str]], prompt: bool) -> tuple[int, ...]:
        turns = [{"role": role, "content": content} for role, content in messages]
        if not turns:
            return ()
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
        return self.ids(text)


def padding(tokenizer: Tokenizer) -> int:
    """The padding token: the end of a text if the tokenizer has one, else token 0."""
    return 0 if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)


def pad(sequences: Sequence[Sequence[int]], value: int) -> np.ndarray:
    """One array (N, longest) of token sequences, int32, padded on the right."""
    out = np.full((len(sequences), max(len(s) for s in sequences)), value, np.int32)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return out


def cuts(lengths: np.ndarray, lanes: int = 1, overhead: int = 200, most: int = 4) -> list[int]:
    """The ends of passes over examples sorted by length, chosen for the least padding.

    `lengths` (T, B), sorted along B; returns ends [.., B] of at most `most` passes. The cost of a pass of b examples is
    T b times its longest, plus `overhead` tokens. The minimum is exact, by dynamic programming. With two `lanes`, which
    take passes alternately, a single cut is used if it ends earlier. More than EXACT examples are cut into passes of
    TOKENS tokens.
    """
    tasks, size = lengths.shape
    longest = lengths.max(axis=0)
    if size > EXACT:
        ends = [0]
        for end in range(1, size):
            if tasks * (end + 1 - ends[-1]) * int(longest[end]) > TOKENS:
                ends.append(end)
        return [*ends[1:], size]

    def cost(start: int, end: int) -> int:
        return overhead + tasks * (end - start) * int(longest[end - 1])

    def last_lane(ends: list[int]) -> int:
        costs = [cost(start, end) for start, end in pairwise([0, *ends])]
        return max(sum(costs[i::lanes]) for i in range(lanes))

    best: list[tuple[int, list[int]]] = [(0, [])]
    for end in range(1, size + 1):
        options = [
            (best[start][0] + cost(start, end), [*best[start][1], end])
            for start in range(end)
            if len(best[start][1]) < most
        ]
        best.append(min(options))
    halves = [[at, size] for at in range(1, size)] if lanes > 1 else []
    return min([best[size][1], *halves], key=last_lane)
