"""Objects to measure: recipes, a random llama of any size, batches of random tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...config.build import Setup, compose
from ...config.recipe import Recipe, load_recipe
from ...core.types import Batch, Episode, Example, Tree

if TYPE_CHECKING:
    from ...backends.mlx.model import Base
    from ...pocket.fit import Size

MAX_LENGTH = 8192
"""Tokens that a random sequence may have."""


def recipe(model: str, changes: Mapping[str, object] | None = None, name: str = "style") -> Recipe:
    """A recipe of this folder on a model; `changes` are values by key, such as {"learner.steps": 2}."""
    return load_recipe(Path(__file__).with_name(f"{name}.yaml"), {"model": model, **(changes or {})})


def upper_half(model: str) -> int:
    """The number of blocks that a recipe of `melpa prepare` adapts."""
    from ...backends.checkpoints import config, fetch

    found = config(fetch(model))
    return max(1, int(found.get("num_hidden_layers") or found["n_layer"]) // 2)


class NumberTokenizer:
    """A tokenizer of texts that are token ids with spaces between them."""

    bos_token_id = eos_token_id = None

    def encode(self, text: str, **_: bool) -> list[int]:
        """The ids in a text."""
        return [int(word) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return " ".join(map(str, ids))


def random_llama(size: "Size") -> "Base":
    """A base on MLX with random weights and no tokenizer."""
    from ...backends.mlx.model import wrap
    from ...pocket.fit import build

    return wrap("random llama", build(size, 0), None, size.config())


def on_numbers(base: Any, changes: Mapping[str, object] | None = None) -> Setup:
    """The recipe `style` on a base that reads token ids as text; see `random_batch`."""
    changed = {"readout.max_length": MAX_LENGTH, **(changes or {})}
    return compose(recipe("pocket", changed), replace(base, tokenizer=NumberTokenizer()))


def random_theta(setup: Setup) -> Tree:
    """A random start, with LoRA's B away from zero so that every factor has a gradient."""
    theta, ops = setup.begin(0), setup.parts.ops
    start = theta["initializer"]["start"]
    noise = 0.01 * np.random.default_rng(0).standard_normal(start.shape)
    start = start + ops.array(noise.astype(np.float32))
    return {**theta, "initializer": {**theta["initializer"], "start": start}}


def random_batch(setup: Setup, tasks: int, examples: int, length: int, *, one_in: int = 10, seed: int = 0) -> Batch:
    """Random sequences of `length` tokens without padding; the last of every `one_in` are supervised."""
    rng = np.random.default_rng([seed, 7])
    ids = rng.integers(3, min(6000, int(setup.base.config["vocab_size"])), (tasks, examples, length + 1))
    read, text = max(1, length // one_in), NumberTokenizer().decode
    episodes = [
        Episode("", tuple(Example(text(row[:-read]), target=text(row[-read:])) for row in task), ()) for task in ids
    ]
    return setup.parts.problem.support(episodes)
