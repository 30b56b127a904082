"""Base models through mlx-lm: loading, identity, and the sites where adapters may sit."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ...core.sites import Site, cache
from ...errors import ModelError
from .. import fingerprint as identity
from ..checkpoints import fetch, first_line
from . import ops
from .patches import install
from .slots import Keys, Reading, Tap

ATTENTION = ("self_attn", "attn", "attention", "linear_attn", "mixer", "temporal_block", "conv")
FEED_FORWARD = ("mlp", "feed_forward", "block_sparse_moe", "ffn", "mlp_block")


@dataclass
class Base:
    """A frozen model with its tokenizer.

    `family` identifies configuration, tokenizer and shapes; `weights` the numbers. A quantized or converted copy is of
    the same family with other weights.
    """

    name: str
    model: nn.Module
    tokenizer: Any
    config: dict[str, Any]
    reading: Reading
    width: int
    folder: Path | None = None
    kind: str = "causal"

    @property
    def blocks(self) -> list[nn.Module]:
        """The list that owns the model's blocks (some models' `layers` is a copy)."""
        listed = list(self.model.layers)
        found = _owned(self.model, listed)
        if found is None:
            raise ModelError(f"{self.name}: its blocks are not kept in one list, so adapters can't be put around them")
        return found

    @cached_property
    def sites(self) -> list[Site]:
        """The input, every linear layer and sub-block in the model's order, then each block's keys and values."""
        return [*_sites(self.blocks, self.width, self.name), *_caches(self.model, self.blocks, self.name)]

    @cached_property
    def family(self) -> str:
        """A fingerprint of configuration and tokenizer, 16 hex digits."""
        return identity.family(self.config, self.tokenizer.get_vocab())

    @cached_property
    def weights(self) -> str:
        """A fingerprint of the weight files, or of the numbers where there are none; 16 hex digits."""
        return identity.weights(self.folder) or _hash_arrays(self.model)

    @property
    def parameters(self) -> int:
        """The count of weights of the base."""
        from mlx_lm.utils import get_total_parameters

        return int(get_total_parameters(self.model))


def _hash_arrays(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in ops.flatten(model.parameters()):
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


def wrap(name: str, model: nn.Module, tokenizer: Any, config: dict[str, Any], folder: Path | None = None) -> Base:
    """Makes a Base of a model that is already in memory."""
    install()
    if mx.default_device().type == mx.DeviceType.cpu:
        model.set_dtype(mx.float32)
    model.freeze()
    model.eval()
    # Gated delta layers pick a kernel without a gradient unless they are told that they train.
    for module in model.modules():
        if hasattr(module, "A_log"):
            module.train()
    mx.eval(model.parameters())
    reading = _tap(model, name)
    width = int(hidden(model, reading, mx.array([[1, 2]])).shape[-1])
    return Base(name, model, tokenizer, config, reading, width, folder)


def hidden(model: nn.Module, reading: Reading, tokens: mx.array) -> mx.array:
    """The last hidden states (R, L, d) of tokens (R, L), what the head would read."""
    reading.stop = True
    try:
        model(tokens)
    finally:
        reading.stop = False
    kept, reading.hidden = reading.hidden, None
    assert kept is not None
    return kept


def logits(model: nn.Module, reading: Reading, tokens: mx.array, index: mx.array) -> mx.array:
    """The logits (N, V) of tokens (R, L) at flat positions `index` (N,) of R*L."""
    reading.index = index
    try:
        out = model(tokens)
    finally:
        reading.index = None
    return out.reshape(index.shape[0], -1)


def _tap(model: nn.Module, name: str) -> Reading:
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
    hidden_calls = reading.calls
    mx.eval(logits(model, reading, mx.array([[1, 2]]), mx.array([1])))
    if reading.calls != hidden_calls + 1:
        raise ModelError(f"{name}: its head could not be found, so this architecture can't be adapted")
    return reading


def _owned(module: Any, listed: list[nn.Module]) -> list[nn.Module] | None:
    """Finds the list inside the module tree whose members are exactly `listed`."""
    if isinstance(module, list):
        if len(module) == len(listed) and all(a is b for a, b in zip(module, listed, strict=True)):
            return module
        children: list[Any] = module
    elif isinstance(module, dict):  # modules are dicts too
        children = list(module.values())
    else:
        return None
    for child in children:
        found = _owned(child, listed)
        if found is not None:
            return found
    return None


def _sites(blocks: list[nn.Module], width: int, name: str) -> list[Site]:
    from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear

    switch = (SwitchLinear, QuantizedSwitchLinear)
    found = [Site(0, "input", width, width, "input")]
    for layer, block in enumerate(blocks):
        inside = dict(block.named_modules())
        experts = [p for p, m in inside.items() if p and any(isinstance(c, switch) for c in m.modules())]
        for path, module in reversed(list(inside.items())):
            top = path.count(".") == 0
            if path in ATTENTION and top:
                found.append(Site(layer, path, width, width, "attention"))
            elif path in FEED_FORWARD and top:
                found.append(Site(layer, path, width, width, "feed_forward"))
            elif isinstance(module, (nn.Linear, nn.QuantizedLinear, *switch)):
                among = [p for p in experts if path == p or path.startswith(p + ".")]
                refused = (
                    f"'{path}' of {name} belongs to a mixture of experts ('{among[0]}'), which sorts tokens by expert "
                    "and would mix users; adapt attention, or the block's output with a bottleneck"
                    if among
                    else ""
                )
                wide = (0, 0) if refused else _linear_widths(module)
                found.append(Site(layer, path, *wide, "linear", refused))
    if not any(s.role == "linear" and not s.refused for s in found):
        raise ModelError(f"{name}: no linear layer was found in its blocks")
    return found


def _caches(model: nn.Module, blocks: list[nn.Module], name: str) -> list[Site]:
    """Looks at attention while the model reads one token and two; some have other keys for one. Nothing is computed."""
    seen: list[list[tuple[int, int]]] = [[] for _ in blocks]
    own = list(blocks)

    def look(weights: Any, k: mx.array, v: mx.array) -> tuple[mx.array, mx.array]:
        weights[0].append((k.shape[1] * k.shape[3], v.shape[1] * v.shape[3]))
        return k, v

    try:
        for i, block in enumerate(own):
            blocks[i] = slot = Keys(block, look)
            slot.bind([seen[i]])  # type: ignore[list-item]
        for tokens in ([[1]], [[1, 2]]):
            model(mx.array(tokens))
    finally:
        blocks[:] = own
    return [cache(i, found, 2, name) for i, found in enumerate(seen)]


def _linear_widths(module: nn.Module) -> tuple[int, int]:
    out = module.weight.shape[0]
    if isinstance(module, nn.QuantizedLinear):  # packed: the input width stands in the scales
        return module.scales.shape[1] * module.group_size, out
    return module.weight.shape[1], out
