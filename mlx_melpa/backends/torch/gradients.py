"""Derivatives of functions of trees, as MLX has them: nothing stays behind a call, and inside a call they nest.

A derivative at the top level gives tensors without history, so the memory of a loop is that of one step. One inside
another keeps its graph, and takes it in the composed attention: torch's fused ones have no second derivative.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .trees import Tree, flatten, rebuild

_depth: ContextVar[int] = ContextVar("depth", default=0)
_log = logging.getLogger(__name__)


@contextmanager
def _inside() -> Iterator[None]:
    token = _depth.set(_depth.get() + 1)
    try:
        with torch.enable_grad():
            yield
    finally:
        _depth.reset(token)


@cache
def _say_once() -> None:
    _log.info("second derivatives: attention is composed of plain products (eager), the fused kernels have none")


def say_which_attention() -> None:
    """Called where a model runs: says once in the log that it is differentiated twice, and how."""
    if _depth.get() > 1:
        _say_once()


def _attention(nested: bool) -> AbstractContextManager[None]:
    if not nested:
        return nullcontext()
    return sdpa_kernel(SDPBackend.MATH)


def _own(value: torch.Tensor, nested: bool) -> torch.Tensor:
    """The point to differentiate at: a name of its own, so that what else depends on `value` is held constant."""
    if nested and value.requires_grad:
        return value.view_as(value)
    return value.detach().requires_grad_()


def _pulled(
    outs: Sequence[torch.Tensor], at: Sequence[torch.Tensor], cotangents: Sequence[torch.Tensor] | None, nested: bool
) -> list[torch.Tensor]:
    reached = [i for i, out in enumerate(outs) if out.requires_grad]
    if not reached:
        return [torch.zeros_like(x) for x in at]
    found = torch.autograd.grad(
        [outs[i] for i in reached],
        at,
        None if cotangents is None else [cotangents[i] for i in reached],
        create_graph=nested,
        allow_unused=True,
    )
    return [torch.zeros_like(x) if g is None else g for x, g in zip(at, found, strict=True)]


def value_and_grad(fn: Callable[[Tree], tuple[torch.Tensor, Tree]], at: Tree) -> tuple[torch.Tensor, Tree, Tree]:
    """The value, what else `fn` returns (detached), and the gradient of a scalar function at a tree."""
    nested = _depth.get() > 0
    with _inside(), _attention(nested):
        leaves = [_own(leaf, nested) for _, leaf in flatten(at)]
        value, extra = fn(rebuild(at, leaves))
        grads = _pulled([value], leaves, None, nested)
    extra = rebuild(extra, [leaf.detach() for _, leaf in flatten(extra)])
    return value if nested else value.detach(), extra, rebuild(at, grads)


def grad(fn: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> torch.Tensor:
    """The gradient of a scalar function at one array; differentiable again inside another derivative."""
    return value_and_grad(lambda x: (fn(x), ()), at)[2]


def vjp(fn: Callable[[Tree], Tree], at: Tree, cotangent: Tree) -> Tree:
    """The pull-back of `cotangent` (shaped like fn's result) through `fn` at a tree, shaped like that tree."""
    nested = _depth.get() > 0
    with _inside(), _attention(nested):
        leaves = [_own(leaf, nested) for _, leaf in flatten(at)]
        outs = [leaf for _, leaf in flatten(fn(rebuild(at, leaves)))]
        pulled = _pulled(outs, leaves, [leaf for _, leaf in flatten(cotangent)], nested)
    return rebuild(at, pulled)


def stop_gradient(x: torch.Tensor) -> torch.Tensor:
    """The same numbers, held constant."""
    return x.detach()
