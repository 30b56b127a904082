"""Functions of MLX that are replaced while this library computes, and what goes with them.

On a CPU: fast `nn.silu`, `nn.gelu_approx` and attention, no `mx.compile`, a share of MKL's threads for each lane, and a
heap that keeps freed memory. On a GPU: attention only, which adapters of keys and values need.
"""

from collections.abc import Callable
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn

from . import activations, attention, cpu_streams, malloc, prefix_attention

CPU = mx.default_device().type == mx.DeviceType.cpu
Patch = tuple[ModuleType, str, Callable[..., object]]
"""A module, the name of its function, and the function in its place."""
PATCHES: tuple[Patch, ...] = (
    (nn, "silu", activations.silu),
    (nn, "gelu_approx", activations.gelu_approx),
    (mx.fast, "scaled_dot_product_attention", attention.attention),
)
GPU_PATCHES: tuple[Patch, ...] = ((mx.fast, "scaled_dot_product_attention", prefix_attention.attention),)
_originals: list[Patch] = []


def install() -> None:
    """Replaces the functions for the whole process, once; `model.load`, `model.wrap` and `config.build.engine` call it.

    Other MLX programs of the process keep working: the results are the same to rounding.
    """
    if _originals:
        return
    for owner, name, replacement in PATCHES if CPU else GPU_PATCHES:
        _originals.append((owner, name, getattr(owner, name)))
        setattr(owner, name, replacement)
    if CPU:
        # `mx.compile` can't see through functions with a gradient of their own, gained nothing measurable on a CPU, and
        # would call the machine's C++ compiler, which a user may not have and which would enter the identity of a run.
        mx.disable_compile()
        cpu_streams.share_threads(cpu_streams.LANES)
        malloc.keep()


def uninstall() -> None:
    """Restores MLX's functions, `mx.compile` and MKL's threads, once; the heap keeps what it holds.

    Loaded bases go on working, but slower on a CPU, and adapters of kind `prefix` no longer act.
    """
    if not _originals:
        return
    for owner, name, original in _originals:
        setattr(owner, name, original)
    _originals.clear()
    if CPU:
        mx.enable_compile()
        cpu_streams.share_threads(1)
