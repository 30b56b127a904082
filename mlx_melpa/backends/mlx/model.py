"""Base models through mlx-lm: loading, fingerprints, forward passes."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ...core.sites import Site
from ...errors import ModelError
from ..base import BaseModel
from ..checkpoints import Config, fetch, first_line
from . import ops, sites
from .patches import CPU, install
from .slots import Reading, Tap


@dataclass
class Base(BaseModel):
    """A frozen causal model of mlx-lm."""

    reading: Reading = field(default_factory=Reading)

    @property
    def blocks(self) -> list[nn.Module]:
        """The list that owns the model's blocks."""
        return sites.blocks(self.model, self.name)

    @cached_property
    def sites(self) -> list[Site]:
        """The input, every linear layer and sub-block in the model's order, then each block's keys and values."""
        blocks = self.blocks
        return [*sites.sites(blocks, self.width, self.name), *sites.caches(self.model, blocks, self.name)]

    @property
    def parameters(self) -> int:
        """The number of weights."""
        from mlx_lm.utils import get_total_parameters

        return int(get_total_parameters(self.model))

    def hidden(self, tokens: mx.array, **options: object) -> mx.array:
        """The last hidden states (R, L, d) of tokens (R, L), before the head; `options` go to the model."""
        self.reading.stop = True
        try:
            self.model(tokens, **options)
        finally:
            self.reading.stop = False
        states, self.reading.hidden = self.reading.hidden, None
        assert states is not None
        return states

    def logits(self, tokens: mx.array, index: mx.array, **options: object) -> mx.array:
        """The logits (N, V) of tokens (R, L) at flat positions `index` (N,) of R*L, float32."""
        self.reading.index = index
        try:
            out = self.model(tokens, **options)
        finally:
            self.reading.index = None
        return out.reshape(index.shape[0], -1).astype(mx.float32)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for name, value in ops.flatten(self.model.parameters()):
            digest.update(f"{name}{value.shape}{ops.numpy(value.astype(mx.float32).sum())}".encode())
        return digest.hexdigest()[:16]


def load(name: str) -> Base:
    """Loads a base by hub name or folder; `pocket` is the one that comes with the package.

    Raises ModelError where it can't be had. On a CPU unquantized weights become float32, the fast format there.
    """
    import mlx_lm

    install()
    path = fetch(name)
    try:
        loaded: Any = mlx_lm.load(str(path), return_config=True)
        model, tokenizer, config = loaded
    except Exception as error:
        other = "; backend torch may know it" if "not supported" in str(error) else ""
        raise ModelError(f"model '{name}' can't be loaded: {first_line(error)}{other}") from error
    return wrap(name, model, tokenizer, config, path)


def wrap(name: str, model: nn.Module, tokenizer: Any, config: Config, folder: Path | None = None) -> Base:
    """Makes a Base of a model that is already in memory."""
    install()
    if CPU:
        model.set_dtype(mx.float32)
    model.freeze()
    model.eval()
    # Gated delta layers pick a kernel without a gradient unless they are in training mode.
    for module in model.modules():
        if hasattr(module, "A_log"):
            module.train()
    mx.eval(model.parameters())
    base = Base(name, model, tokenizer, config, folder=folder, reading=_tap(model))
    _check_head(base)
    base.width = int(base.hidden(mx.array([[1, 2]])).shape[-1])
    return base


def _tap(model: nn.Module) -> Reading:
    """Puts taps around the head and around the token embedding, whichever of the two the model projects with."""
    reading = Reading()
    embeddings = [
        (owner, key)
        for _, owner in model.named_modules()
        for key, child in list(owner.items())
        if isinstance(child, (nn.Embedding, nn.QuantizedEmbedding))
    ]
    heads = [
        (owner, "lm_head")
        for _, owner in model.named_modules()
        if isinstance(owner.get("lm_head"), (nn.Linear, nn.QuantizedLinear))
    ]
    for owner, key in (*embeddings, *heads):
        owner[key] = Tap(owner[key], reading)
    return reading


def _check_head(base: Base) -> None:
    """Raises ModelError unless the model projects to its vocabulary with what was tapped."""
    calls = base.reading.calls
    mx.eval(base.logits(mx.array([[1, 2]]), mx.array([1])))
    if base.reading.calls != calls + 1:
        raise ModelError(f"{base.name}: its head could not be found, so this architecture can't be adapted")
