"""What the methods need beyond operators: gradients, trees, reductions, optimizers, saving, for MLX."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np

from .. import memory
from . import activations, attention, blas
from . import cpu_streams as lanes
from . import malloc as heap
from . import prefix_attention as behind
from .cpu_streams import LANES, lane
from .ranks import gather, ranks, total
from .trees import Tree, add, flatten, map_tree, rebuild, zeros_like

__all__ = ["LANES", "add", "flatten", "gather", "lane", "map_tree", "ranks", "rebuild", "total", "zeros_like"]

name = "mlx"
Array = mx.array

CPU = mx.default_device().type == mx.DeviceType.cpu
if CPU:
    # `mx.compile` can't see through functions with a gradient of their own, gained nothing measurable on a CPU, and
    # would call the machine's C++ compiler, which a user may not have and which would enter the identity of a run.
    mx.disable_compile()
    nn.silu, nn.gelu_approx = activations.silu, activations.gelu_approx
    lanes.share_threads()
mx.fast.scaled_dot_product_attention = attention.attention if CPU else behind.attention


def array(x: Any) -> mx.array:
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


def value_and_grad(fn: Callable[[Tree], tuple[Array, Any]], at: Tree) -> tuple[Array, Any, Tree]:
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
concatenate = mx.concatenate
stack = mx.stack


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
    parts: Any = mx.split(x, list(at), axis=axis) if len(at) else [x]
    return list(parts)


def take(x: mx.array, index: mx.array, axis: int) -> mx.array:
    """Picks along an axis."""
    return mx.take(x, index, axis=axis)


def pick(x: mx.array, index: mx.array, axis: int) -> mx.array:
    """Picks per element: `take_along_axis`."""
    return mx.take_along_axis(x, index, axis=axis)


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


def norm(tree: Tree) -> mx.array:
    """The Euclidean norm over all leaves of a tree."""
    return mx.sqrt(sum((v.astype(mx.float32) ** 2).sum() for _, v in flatten(tree)))


class Outer:
    """An outer optimizer of the engine over a tree; Adam corrects its bias, as torch's does.

    Kinds adam, adamw, sgd. The rate rises linearly over `warmup` steps, then stays, or falls by a half cosine to 0 at
    `steps`.
    """

    def __init__(self, kind: str, *, lr: float, schedule: str, warmup: int, steps: int, **settings: Any):
        after = optim.cosine_decay(lr, max(1, steps - warmup)) if schedule == "cosine" else lambda _: mx.array(lr)
        rise = optim.linear_schedule(lr / (warmup + 1), lr, max(1, warmup))
        self.rate = optim.join_schedules([rise, after], [warmup]) if warmup else after
        if kind != "sgd":
            settings["bias_correction"] = True
        self.inner = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD}[kind](self.rate, **settings)

    def begin(self, theta: Tree) -> None:
        """Makes the state for a tree of parameters."""
        self.inner.init(theta)

    def apply(self, gradient: Tree, theta: Tree) -> Tree:
        """The tree after one step."""
        return self.inner.apply_gradients(gradient, theta)

    @property
    def state(self) -> Tree:
        """All that a resumed run needs."""
        return self.inner.state

    @state.setter
    def state(self, state: Tree) -> None:
        self.inner.state = state


def clip(gradient: Tree, most: float) -> tuple[Tree, mx.array]:
    """Scales a tree down to a norm of `most`; also the norm before."""
    return optim.clip_grad_norm(gradient, most)


def save(path: Path, tree: Tree, metadata: dict[str, str] | None = None) -> None:
    """Writes a tree as safetensors under its dotted names."""
    mx.save_safetensors(str(path), dict(flatten(tree)), metadata or {})


def load(path: Path, like: Tree) -> Tree:
    """Reads what `save` wrote into the shape of a tree; KeyError names a missing leaf."""
    leaves: Any = mx.load(str(path))
    return rebuild(like, [leaves[n] for n, _ in flatten(like)])


def peak_memory() -> int:
    """Bytes at the peak since `reset_peak_memory`, the cache of the allocator not counted."""
    return max(mx.get_peak_memory(), mx.get_active_memory())


def memory_available() -> int | None:
    """Bytes that arrays may still take: what is free, or on a Mac what Metal recommends to stay under."""
    recommended = mx.device_info().get("max_recommended_working_set_size")
    return memory.available() if recommended is None else int(recommended) - mx.get_active_memory()


def out_of_memory(error: BaseException) -> bool:
    """Says whether an error of the engine means that memory ran out."""
    signs = ("insufficient memory", "out of memory", "unable to allocate", "bad_alloc", "maximum allowed buffer")
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)


def clear_cache() -> None:
    """Gives back what the allocator keeps for reuse."""
    mx.clear_cache()
    heap.give_back()


def cache_memory() -> int:
    """Bytes that the allocator keeps for reuse."""
    return mx.get_cache_memory()


def reset_peak_memory() -> None:
    """Starts a new measurement of `peak_memory`."""
    mx.reset_peak_memory()


def limit_cache(size: int) -> None:
    """Bounds the allocator's cache, in bytes; a lower bound stays, as MLX has on a CPU."""
    mx.set_cache_limit(min(size, mx.set_cache_limit(size)))


def silu(x: mx.array) -> mx.array:
    """x sigmoid(x)."""
    return activations.silu(x) if CPU else x * mx.sigmoid(x)


def metadata(path: Path) -> dict[str, str]:
    """What `save` wrote beside the tree."""
    found: Any = mx.load(str(path), return_metadata=True)
    return dict(found[1])


def identity() -> dict[str, str]:
    """What bit-identical resumption depends on besides the seed."""
    device = str(mx.default_device())
    return {"engine": f"mlx {version('mlx')}", "device": device, "blas": blas.name(), "threads": str(blas.threads())}
