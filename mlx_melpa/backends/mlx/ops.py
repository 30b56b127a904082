"""The operations of MLX (`core.engine.Engine`): arrays, derivatives, files; others stand in files of their own."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from .. import machine
from . import activations, blas
from .cpu_streams import LANES, lane
from .memory import clear_cache, limit_cache, memory_available, out_of_memory, peak_memory, reset_peak_memory
from .optimizer import OuterOptimizer, clip
from .patches import CPU, install
from .ranks import gather, ranks, total
from .trees import Tree, add, flatten, map_tree, rebuild, zeros_like

name = "mlx"
Array = mx.array


def array(x: npt.ArrayLike) -> mx.array:
    """Takes a NumPy array or nested numbers to the engine; floats become float32, integers int32."""
    x = np.asarray(x)
    kind = {"f": np.float32, "i": np.int32, "u": np.int32, "b": np.float32}[x.dtype.kind]
    return mx.array(x.astype(kind, copy=False))


def numpy(x: mx.array) -> np.ndarray:
    """Takes an array back to NumPy; float16 and bfloat16 become float32."""
    if x.dtype in (mx.bfloat16, mx.float16):
        x = x.astype(mx.float32)
    return np.array(x)


def evaluate(*trees: Tree) -> None:
    """Computes what is pending, so that graphs and memory stay small."""
    mx.eval(*trees)


def value_and_grad(fn: Callable[[Tree], tuple[Array, Tree]], at: Tree) -> tuple[Array, Tree, Tree]:
    """The value, what else `fn` returns (detached), and the gradient of a scalar function at a tree."""
    (value, extra), grad = mx.value_and_grad(fn)(at)
    return value, extra, grad


def grad(fn: Callable[[Array], Array], at: Array) -> Array:
    """The gradient of a scalar function at one array; differentiable again."""
    return mx.grad(fn)(at)


def vjp(fn: Callable[[Tree], Tree], at: Tree, cotangent: Tree) -> Tree:
    """The pull-back of `cotangent` (shaped like fn's result) through `fn` at a tree, shaped like that tree."""

    def flat(*values: Array) -> list[Array]:
        outs = [v for _, v in flatten(fn(rebuild(at, values)))]
        # Of an output that is returned twice, MLX keeps one cotangent only: each gets a name of its own.
        return [v * 1 if any(v is other for other in outs[:i]) else v for i, v in enumerate(outs)]

    _, pulled = mx.vjp(flat, [v for _, v in flatten(at)], [v for _, v in flatten(cotangent)])
    return rebuild(at, pulled)


stop_gradient = mx.stop_gradient
exp = mx.exp
log = mx.log
sqrt = mx.sqrt
maximum = mx.maximum
minimum = mx.minimum
tanh = mx.tanh
where = mx.where


def concatenate(arrays: Sequence[mx.array], axis: int = 0) -> mx.array:
    """Joins arrays along an axis."""
    return mx.concatenate(list(arrays), axis)


def stack(arrays: Sequence[mx.array], axis: int = 0) -> mx.array:
    """Joins arrays along a new axis."""
    return mx.stack(list(arrays), axis)


def relu(x: mx.array) -> mx.array:
    """max(x, 0)."""
    return mx.maximum(x, 0)


def swap(x: mx.array) -> mx.array:
    """Swaps the last two axes."""
    return mx.swapaxes(x, -1, -2)


def broadcast(x: mx.array, shape: tuple[int, ...]) -> mx.array:
    """Repeats an array to a shape without copying."""
    return mx.broadcast_to(x, shape)


def split(x: mx.array, at: Sequence[int], axis: int) -> list[mx.array]:
    """Cuts an array at offsets along an axis; its gradient is one concatenation."""
    parts: Tree = mx.split(x, list(at), axis=axis) if len(at) else [x]
    return list(parts)


def take(x: mx.array, index: mx.array, axis: int) -> mx.array:
    """Picks along an axis."""
    return mx.take(x, index, axis=axis)


def log_sum_exp(x: mx.array) -> mx.array:
    """log sum exp over the last axis, which is kept."""
    if CPU and x.dtype == mx.float32:
        return activations.log_sum_exp(x)[0]
    return mx.logsumexp(x, axis=-1, keepdims=True)


def softmax(x: mx.array) -> mx.array:
    """Softmax over the last axis."""
    return activations.softmax(x) if CPU and x.dtype == mx.float32 else mx.softmax(x, axis=-1)


def cast(x: mx.array, like: mx.array) -> mx.array:
    """Gives `x` the number format of `like`."""
    return x.astype(like.dtype)


def zeros(shape: tuple[int, ...]) -> mx.array:
    """Float32 zeros."""
    return mx.zeros(shape)


def ones(shape: tuple[int, ...]) -> mx.array:
    """Float32 ones."""
    return mx.ones(shape)


def save(path: Path, tree: Tree, metadata: dict[str, str] | None = None) -> None:
    """Writes a tree as safetensors under its dotted names."""
    mx.save_safetensors(str(path), dict(flatten(tree)), metadata or {})


def load(path: Path, like: Tree) -> Tree:
    """Reads what `save` wrote into the shape of a tree; KeyError names a missing leaf."""
    leaves: Tree = mx.load(str(path))
    return rebuild(like, [leaves[n] for n, _ in flatten(like)])


def silu(x: mx.array) -> mx.array:
    """x sigmoid(x)."""
    return activations.silu(x) if CPU else x * mx.sigmoid(x)


def metadata(path: Path) -> dict[str, str]:
    """The metadata that `save` wrote."""
    found: Tree = mx.load(str(path), return_metadata=True)
    return dict(found[1])


def identity() -> dict[str, str]:
    """The conditions of bit-identical resumption besides the seed: engine, device, BLAS, threads."""
    device = str(mx.default_device())
    return {"engine": f"mlx {version('mlx')}", "device": device, "blas": blas.name(), "threads": str(machine.threads())}
