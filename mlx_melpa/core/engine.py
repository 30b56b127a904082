"""The operations that both engines offer, as modules `backends/mlx/ops.py` and `backends/torch/ops.py`.

`mlx_melpa.config.build.engine("mlx")` returns one. Beside these, algorithms use operators and the array methods
that both engines share: reshape, sum, mean, max, min, abs, square.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .types import Array, Tree


class Optimizer(Protocol):
    """The optimizer of the outer loop over a tree. `state` is all that a resumed run needs."""

    state: Tree

    def begin(self, theta: Tree, /) -> None:
        """Makes the state for a tree of parameters."""

    def apply(self, gradient: Tree, theta: Tree, /) -> Tree:
        """The tree after one step."""


class Engine(Protocol):
    """The operations of one engine. `LANES` is the number of parts of a batch that run side by side."""

    name: str
    LANES: int

    def install(self) -> None:
        """Prepares the engine to compute; called when a base is loaded or a recipe is built. Idempotent."""

    # Arrays in and out

    def array(self, x: npt.ArrayLike, /) -> Array:
        """An array of the engine; floats become float32, integers the engine's index type."""

    def numpy(self, x: Array, /) -> np.ndarray:
        """The array as NumPy; half formats become float32, integers int32."""

    def zeros(self, shape: tuple[int, ...], /) -> Array: ...

    def ones(self, shape: tuple[int, ...], /) -> Array: ...

    def cast(self, x: Array, like: Array, /) -> Array:
        """`x` in the number format of `like`."""

    # Elementwise

    def exp(self, x: Array, /) -> Array: ...

    def log(self, x: Array, /) -> Array: ...

    def sqrt(self, x: Array, /) -> Array: ...

    def tanh(self, x: Array, /) -> Array: ...

    def relu(self, x: Array, /) -> Array: ...

    def silu(self, x: Array, /) -> Array: ...

    def maximum(self, x: Array, y: Array, /) -> Array: ...

    def minimum(self, x: Array, y: Array, /) -> Array: ...

    def where(self, condition: Array, x: Array, y: Array, /) -> Array: ...

    # Over the last axis

    def log_sum_exp(self, x: Array, /) -> Array:
        """log sum exp over the last axis, which is kept."""

    def softmax(self, x: Array, /) -> Array: ...

    # Shapes

    def concatenate(self, arrays: Sequence[Array], axis: int = 0) -> Array: ...

    def stack(self, arrays: Sequence[Array], axis: int = 0) -> Array: ...

    def swap(self, x: Array, /) -> Array:
        """The last two axes swapped."""

    def broadcast(self, x: Array, shape: tuple[int, ...], /) -> Array: ...

    def split(self, x: Array, at: Sequence[int], axis: int) -> list[Array]:
        """Pieces between offsets along an axis; the gradient is one concatenation."""

    def take(self, x: Array, index: Array, axis: int) -> Array: ...

    # Derivatives

    def value_and_grad(self, fn: Callable[[Tree], tuple[Array, Tree]], at: Tree, /) -> tuple[Array, Tree, Tree]:
        """The value, what else `fn` returns (detached), and the gradient at a tree."""

    def grad(self, fn: Callable[[Array], Array], at: Array, /) -> Array:
        """The gradient of a scalar function at one array; differentiable again."""

    def vjp(self, fn: Callable[[Tree], Tree], at: Tree, cotangent: Tree, /) -> Tree:
        """The vector-Jacobian product of `fn` at a tree."""

    def stop_gradient(self, x: Array, /) -> Array: ...

    def evaluate(self, *trees: Tree) -> None:
        """Computes what is pending, so that graphs and memory stay small."""

    def lane(self, i: int, /) -> AbstractContextManager[object]:
        """Runs what is computed inside in lane i, modulo `LANES`."""

    # Trees

    def map_tree(self, fn: Callable[..., Array], tree: Tree, /, *others: Tree) -> Tree: ...

    def flatten(self, tree: Tree, /) -> list[tuple[str, Array]]:
        """The leaves with dotted names, in a fixed order."""

    def rebuild(self, like: Tree, leaves: Iterable[Array], /) -> Tree:
        """Leaves in the order of `flatten`, in the shape of a tree."""

    def zeros_like(self, tree: Tree, /) -> Tree: ...

    def add(self, a: Tree, b: Tree, /) -> Tree: ...

    def clip(self, gradient: Tree, most: float, /) -> tuple[Tree, Array]:
        """A tree scaled down to a Euclidean norm of `most`, and the norm before."""

    # Outer optimizer, files

    def OuterOptimizer(
        self, kind: str, *, lr: float, schedule: str, warmup: int, steps: int, **settings: Any
    ) -> Optimizer:
        """Builds one: kind (adam, adamw, sgd), lr, schedule (constant, cosine), warmup, steps, settings of the kind."""

    def save(self, path: Path, tree: Tree, metadata: dict[str, str] | None = None) -> None:
        """Writes a tree as safetensors under its dotted names."""

    def load(self, path: Path, like: Tree) -> Tree:
        """Reads what `save` wrote into the shape of a tree; KeyError names a missing leaf."""

    def metadata(self, path: Path, /) -> dict[str, str]:
        """The metadata that `save` wrote."""

    # Memory, in bytes

    def peak_memory(self) -> int:
        """The peak since `reset_peak_memory`."""

    def reset_peak_memory(self) -> None: ...

    def memory_available(self) -> int | None:
        """Free memory for arrays; None if the system doesn't report it."""

    def out_of_memory(self, error: BaseException, /) -> bool:
        """True if an error of the engine means that memory ran out."""

    def clear_cache(self) -> None:
        """Returns what the allocator keeps for reuse."""

    def limit_cache(self, size: int, /) -> None:
        """Bounds the allocator's cache."""

    # Several processes

    def ranks(self) -> tuple[int, int]:
        """This process's rank and the number of ranks; (0, 1) where nothing launched several."""

    def total(self, tree: Tree, /) -> Tree:
        """The sum of a tree over all ranks; raises MelpaError where a rank is gone."""

    def gather(self, data: bytes, /) -> list[bytes]:
        """Every rank's bytes, in the order of ranks."""

    def identity(self) -> dict[str, str]:
        """The conditions of bit-identical resumption besides the seed: engine, device, blas, threads."""
