"""More than one machine through MLX's own collectives: `mlx.launch -n N melpa ...`, over ring, jaccl, nccl or MPI."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import mlx.core as mx
import numpy as np

from ..heartbeat import lost, watch
from .trees import Tree, flatten, rebuild

LAUNCHED = ("MLX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")


@cache
def _group() -> mx.distributed.Group | None:
    return mx.distributed.init() if any(name in os.environ for name in LAUNCHED) else None


@cache
def ranks() -> tuple[int, int]:
    """This process's rank, and how many there are: (0, 1) where nothing launched several."""
    group, host = _group(), _first_host()
    if group is None:
        return 0, 1
    rank, count = group.rank(), group.size()
    if count > 1 and host:
        watch(rank, count, host, lambda data: _gathered(data, count))
    return rank, count


def _first_host() -> str | None:
    """The address of rank 0, as mlx.launch tells it for ring, jaccl and nccl; None where it does not."""
    listed = os.environ.get("MLX_HOSTFILE")
    if listed and Path(listed).is_file():
        found = json.loads(Path(listed).read_text() or "[]")
        return str(found[0][0]).rsplit(":", 1)[0] if found else None
    coordinator = os.environ.get("MLX_JACCL_COORDINATOR")
    return coordinator.rsplit(":", 1)[0] if coordinator else os.environ.get("NCCL_HOST_IP")


def total(tree: Tree) -> Tree:
    """Sums a tree over all ranks as one flat float32 array; raises MelpaError where a rank is gone."""
    if ranks()[1] == 1:
        return tree
    leaves = [leaf for _, leaf in flatten(tree)]
    flat = mx.concatenate([leaf.reshape(-1).astype(mx.float32) for leaf in leaves])
    summed = _collective(lambda: mx.distributed.all_sum(flat, group=_group()))
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1].tolist()
    pieces = mx.split(summed, ends) if ends else [summed]
    return rebuild(tree, [p.reshape(x.shape).astype(x.dtype) for p, x in zip(pieces, leaves, strict=True)])


def gather(data: bytes) -> list[bytes]:
    """Every rank's bytes, in the order of ranks, given to all of them."""
    count = ranks()[1]
    return _gathered(data, count) if count > 1 else [data]


def _gathered(data: bytes, count: int) -> list[bytes]:
    sizes = _collective(lambda: mx.distributed.all_gather(mx.array([len(data)]), group=_group()))
    lengths = [int(n) for n in np.array(sizes)]
    padded = np.zeros(max(lengths), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    whole = np.array(_collective(lambda: mx.distributed.all_gather(mx.array(padded)[None], group=_group())))
    return [whole[i, :n].tobytes() for i, n in enumerate(lengths)]


def _collective(call: Callable[[], mx.array]) -> mx.array:
    try:
        found = call()
        mx.eval(found)
    except RuntimeError as error:
        group = _group()
        assert group is not None
        raise lost(group.rank(), group.size(), error) from error
    return found
