"""The operations of torch (`core.engine.Engine`): arrays and files; others stand in files of their own."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .. import machine
from .device import device, dtype
from .gradients import grad, stop_gradient, value_and_grad, vjp
from .memory import clear_cache, limit_cache, memory_available, out_of_memory, peak_memory, reset_peak_memory
from .optimizer import OuterOptimizer, clip
from .ranks import gather, ranks, total
from .trees import Tree, add, flatten, map_tree, rebuild, zeros_like

name = "torch"
Array = torch.Tensor


def install() -> None:
    """Nothing: torch's functions stay as they are."""


def array(x: npt.ArrayLike) -> torch.Tensor:
    """Takes a NumPy array or nested numbers to the engine; floats become float32, integers int64."""
    x = np.asarray(x)
    kind = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.float32}[x.dtype.kind]
    return torch.from_numpy(np.array(x, kind, order="C")).to(device)


def numpy(x: torch.Tensor) -> np.ndarray:
    """Takes an array back to NumPy; float16 and bfloat16 become float32, integers int32."""
    x = x.detach().cpu()
    if not x.is_floating_point():
        return x.int().numpy()
    return x.float().numpy()


LANES = 1
"""The parts of a batch that run side by side: torch shares out each operation instead."""


def lane(i: int) -> AbstractContextManager[None]:
    """Nothing: there is one lane."""
    return nullcontext()


def evaluate(*trees: Tree) -> None:
    """Waits for what a card still computes; a CPU has nothing pending."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


exp = torch.exp
log = torch.log
sqrt = torch.sqrt
tanh = torch.tanh
where = torch.where
relu = torch.relu


def maximum(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
    """The larger of each two numbers."""
    return torch.maximum(x, y) if isinstance(y, torch.Tensor) else torch.clamp(x, min=y)


def minimum(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
    """The smaller of each two numbers."""
    return torch.minimum(x, y) if isinstance(y, torch.Tensor) else torch.clamp(x, max=y)


def concatenate(arrays: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
    """Joins arrays along an axis."""
    return torch.cat(list(arrays), dim=axis)


def stack(arrays: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
    """Joins arrays along a new axis."""
    return torch.stack(list(arrays), dim=axis)


def swap(x: torch.Tensor) -> torch.Tensor:
    """Swaps the last two axes."""
    return x.transpose(-1, -2)


def broadcast(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Repeats an array to a shape without copying."""
    return x.expand(shape)


def split(x: torch.Tensor, at: Sequence[int], axis: int) -> list[torch.Tensor]:
    """Cuts an array at offsets along an axis; its gradient is one concatenation."""
    ends = [0, *at, x.shape[axis]]
    return list(torch.split(x, [b - a for a, b in pairwise(ends)], dim=axis))


def take(x: torch.Tensor, index: torch.Tensor, axis: int) -> torch.Tensor:
    """Picks along an axis."""
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, index.reshape(-1)).reshape(shape)


def log_sum_exp(x: torch.Tensor) -> torch.Tensor:
    """log sum exp over the last axis, which is kept."""
    return torch.logsumexp(x, dim=-1, keepdim=True)


def softmax(x: torch.Tensor) -> torch.Tensor:
    """Softmax over the last axis."""
    return torch.softmax(x, dim=-1)


def silu(x: torch.Tensor) -> torch.Tensor:
    """x sigmoid(x)."""
    return torch.nn.functional.silu(x)


def cast(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Gives `x` the number format of `like`."""
    return x.to(like.dtype)


def zeros(shape: tuple[int, ...]) -> torch.Tensor:
    """Float32 zeros."""
    return torch.zeros(tuple(shape), device=device)


def ones(shape: tuple[int, ...]) -> torch.Tensor:
    """Float32 ones."""
    return torch.ones(tuple(shape), device=device)


def save(path: Path, tree: Tree, metadata: dict[str, str] | None = None) -> None:
    """Writes a tree as safetensors under its dotted names."""
    leaves = {n: leaf.detach().cpu().contiguous().clone() for n, leaf in flatten(tree)}
    save_file(leaves, str(path), metadata or {})


def load(path: Path, like: Tree) -> Tree:
    """Reads what `save` wrote into the shape of a tree; KeyError names a missing leaf."""
    with safe_open(str(path), "pt") as file:
        there = set(file.keys())
        missing = [n for n, _ in flatten(like) if n not in there]
        if missing:
            raise KeyError(missing[0])
        return rebuild(like, [file.get_tensor(n).to(leaf.device) for n, leaf in flatten(like)])


def metadata(path: Path) -> dict[str, str]:
    """The metadata that `save` wrote."""
    with safe_open(str(path), "pt") as file:
        return dict(file.metadata() or {})


def precision() -> float:
    """The relative precision of the frozen model's numbers."""
    return torch.finfo(dtype).eps


def identity() -> dict[str, str]:
    """The conditions of bit-identical resumption besides the seed: engine, device, BLAS, threads."""
    threads = str(machine.named_threads() or torch.get_num_threads())
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    kind = str(dtype).removeprefix("torch.")
    return {"engine": f"torch {torch.__version__}", "device": card, "blas": f"torch's own, {kind}", "threads": threads}
