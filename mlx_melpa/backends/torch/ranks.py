"""More than one card or machine through torch's collectives: `torchrun --nproc-per-node N --no-python melpa ...`."""

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache

import numpy as np
import torch
import torch.distributed as dist

from ..heartbeat import lost, watch
from .device import device
from .trees import Tree, flatten, rebuild

PATIENCE = timedelta(minutes=10)
"""For a rank that is slow; one that ends closes its connections, and one that falls silent is noticed by `beat`."""


@cache
def ranks() -> tuple[int, int]:
    """This process's rank, and how many there are: (0, 1) where nothing launched several."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return 0, 1
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    atexit.register(dist.destroy_process_group)
    rank, count = dist.get_rank(), dist.get_world_size()
    if count > 1:
        watch(rank, count, os.environ["MASTER_ADDR"], lambda data: _gathered(data, count))
    return rank, count


def total(tree: Tree) -> Tree:
    """Sums a tree over all ranks as one flat float32 array; raises MelpaError where a rank is gone."""
    if ranks()[1] == 1:
        return tree
    leaves = [leaf for _, leaf in flatten(tree)]
    flat = torch.cat([leaf.detach().reshape(-1).float().to(device) for leaf in leaves])
    _collective(lambda: dist.all_reduce(flat))
    pieces = torch.split(flat, [leaf.numel() for leaf in leaves])
    return rebuild(tree, [p.reshape(x.shape).to(x) for p, x in zip(pieces, leaves, strict=True)])


def gather(data: bytes) -> list[bytes]:
    """Every rank's bytes, in the order of ranks, given to all of them."""
    count = ranks()[1]
    return _gathered(data, count) if count > 1 else [data]


def _gathered(data: bytes, count: int) -> list[bytes]:
    size = torch.tensor([len(data)], device=device)
    sizes = [torch.zeros_like(size) for _ in range(count)]
    _collective(lambda: dist.all_gather(sizes, size))
    lengths = [int(n) for n in sizes]
    padded = torch.zeros(max(lengths), dtype=torch.uint8, device=device)
    padded[: len(data)] = torch.from_numpy(np.frombuffer(data, np.uint8).copy()).to(device)
    found = [torch.zeros_like(padded) for _ in lengths]
    _collective(lambda: dist.all_gather(found, padded))
    return [part[:n].cpu().numpy().tobytes() for part, n in zip(found, lengths, strict=True)]


def _collective(call: Callable[[], object]) -> None:
    try:
        call()
    except (RuntimeError, dist.DistBackendError) as error:
        raise lost(dist.get_rank(), dist.get_world_size(), error) from error
