"""The places of an mlx-lm model where adapters may sit."""

import mlx.core as mx
import mlx.nn as nn

from ...core.sites import Site, cache
from ...core.types import Tree
from ...errors import ModelError
from ..base import ATTENTION, FEED_FORWARD
from .slots import Keys


def blocks(model: nn.Module, name: str) -> list[nn.Module]:
    """The list that owns the model's blocks (some models' `layers` is a copy)."""
    found = _owned(model, list(model.layers))
    if found is None:
        raise ModelError(f"{name}: its blocks are not kept in one list, so adapters can't be put around them")
    return found


def _owned(module: object, listed: list[nn.Module]) -> list[nn.Module] | None:
    """Finds the list inside the module tree whose members are exactly `listed`."""
    if isinstance(module, list):
        if len(module) == len(listed) and all(a is b for a, b in zip(module, listed, strict=True)):
            return module
        children: list[object] = module
    elif isinstance(module, dict):  # modules are dicts too
        children = list(module.values())
    else:
        return None
    for child in children:
        found = _owned(child, listed)
        if found is not None:
            return found
    return None


def sites(blocks: list[nn.Module], width: int, name: str) -> list[Site]:
    """The input, and every linear layer and sub-block, in the model's order."""
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
                wide = (0, 0) if refused else linear_widths(module)
                found.append(Site(layer, path, *wide, "linear", refused))
    if not any(s.role == "linear" and not s.refused for s in found):
        raise ModelError(f"{name}: no linear layer was found in its blocks")
    return found


def caches(model: nn.Module, blocks: list[nn.Module], name: str) -> list[Site]:
    """Every block's keys and values, looked at while the model reads one token and two; nothing is computed.

    Some models have other keys for one token.
    """
    seen: list[list[tuple[int, int]]] = [[] for _ in blocks]
    own = list(blocks)

    def look(weights: Tree, k: mx.array, v: mx.array) -> tuple[mx.array, mx.array]:
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


def linear_widths(module: nn.Module) -> tuple[int, int]:
    """Numbers per token into and out of a linear layer."""
    out = module.weight.shape[0]
    if isinstance(module, nn.QuantizedLinear):  # packed: the input width stands in the scales
        return module.scales.shape[1] * module.group_size, out
    return module.weight.shape[1], out
