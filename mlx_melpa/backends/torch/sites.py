"""The places of a transformers model where adapters may sit, in the order and under the names that mlx-lm gives."""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from ...core.sites import Site, cache
from ...core.types import Tree
from ...errors import ModelError
from ..base import ATTENTION, FEED_FORWARD
from .slots import Keys

# Where a model has the projection before the residual sum under a name of its own, that is the sub-block's output.
OWN_ATTENTION = ("attention.output.dense", "layer.*.SelfAttention", "layer.*.EncDecAttention")
OWN_FEED_FORWARD = ("output.dense", "layer.*.DenseReluDense")


def blocks(model: nn.Module, name: str) -> list[nn.Module]:
    """The model's blocks, an encoder's before its decoder's: the outermost lists of modules of one kind."""
    found: list[tuple[str, nn.ModuleList]] = []
    for path, module in model.named_modules():
        inner = any(path.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, nn.ModuleList) and len(module) and not inner and len({type(m) for m in module}) == 1:
            found.append((path, module))
    if not found:
        raise ModelError(f"{name}: its blocks are not kept in a list, so adapters can't be put around them")
    return [block for _, listed in found for block in listed]


def sites(listed: Sequence[nn.Module], width: int, name: str) -> list[Site]:
    """Every linear layer and every sub-block, in the model's order."""
    found = [site for layer, block in enumerate(listed) for site in _of_block(layer, block, width, name)]
    if not any(s.role == "linear" and not s.refused for s in found):
        raise ModelError(f"{name}: no linear layer was found in its blocks")
    return found


def caches(listed: Sequence[nn.Module], read: Callable[[], object], name: str) -> list[Site]:
    """Every block's keys and values, looked at while the model reads."""
    seen: list[list[tuple[int, int]]] = [[] for _ in listed]

    def look(found: Tree, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found.append((k.shape[1] * k.shape[3], v.shape[1] * v.shape[3]))
        return k, v

    slots = [Keys(block, look) for block in listed]
    try:
        for slot, found in zip(slots, seen, strict=True):
            slot.bind(found)  # type: ignore[arg-type]
        with torch.no_grad():
            read()
    finally:
        for slot in slots:
            slot.remove()
    return [cache(layer, found, 1, name) for layer, found in enumerate(seen)]


def _of_block(layer: int, block: nn.Module, width: int, name: str) -> Iterator[Site]:
    inside = list(_ordered(block))
    own = any(_matches(path, OWN_ATTENTION + OWN_FEED_FORWARD) for path, _ in inside)
    attention, feed_forward = (OWN_ATTENTION, OWN_FEED_FORWARD) if own else (ATTENTION, FEED_FORWARD)
    for path, module in inside:
        widths = linear_widths(module)
        if widths is not None:
            yield Site(layer, path, *widths, "linear", _refusal(path, name))
        if _matches(path, attention):
            yield Site(layer, path, width, width, "attention")
        elif _matches(path, feed_forward):
            yield Site(layer, path, width, width, "feed_forward")


def _ordered(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules inside a module, each after its own inner ones: the order of a row on both engines.

    mlx-lm lists a feed-forward's up_proj after its down_proj, and o_proj after a joined qkv_proj.
    """
    for key, child in sorted(module.named_children(), key=lambda item: item[0] in ("up_proj", "o_proj")):
        inner = f"{path}.{key}" if path else key
        yield from _ordered(child, inner)
        yield inner, child


def linear_widths(module: nn.Module) -> tuple[int, int] | None:
    """Numbers per token into and out of a linear layer; None for another module."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):  # gpt2's: its weight is (in, out)
        return module.weight.shape[0], module.weight.shape[1]
    return None


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _refusal(path: str, name: str) -> str:
    if "experts" not in path.split("."):
        return ""
    return (
        f"'{path}' of {name} belongs to a mixture of experts, which sorts tokens by expert and would mix users; "
        "adapt attention, or the block's output with a bottleneck"
    )
