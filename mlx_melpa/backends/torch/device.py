"""Torch's device and number format: $MELPA_DEVICE (auto, cpu, cuda, cuda:1) and $MELPA_DTYPE.

Rows, readouts and losses are float32 everywhere; the frozen model is float32 on a CPU and bfloat16 on a card.
"""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from ...errors import MelpaError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _device() -> torch.device:
    wanted = os.environ.get("MELPA_DEVICE") or "auto"
    if wanted == "auto":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if wanted.split(":")[0] not in ("cpu", "cuda"):
        raise MelpaError(f"MELPA_DEVICE={wanted}: give auto, cpu, cuda, or one card such as cuda:1")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise MelpaError(f"MELPA_DEVICE={wanted}: torch sees no CUDA card here; unset it, or give cpu")
    return torch.device(wanted)


def _dtype(device: torch.device) -> torch.dtype:
    wanted = os.environ.get("MELPA_DTYPE") or ("bfloat16" if device.type == "cuda" else "float32")
    if wanted not in DTYPES:
        raise MelpaError(f"MELPA_DTYPE={wanted}: give {' or '.join(DTYPES)}")
    return DTYPES[wanted]


device = _device()
dtype = _dtype(device)


def autocast() -> AbstractContextManager[object]:
    """Computes the model's products in its own format while rows stay float32."""
    if dtype == torch.float32:
        return nullcontext()
    # Nothing is cached: what is cast are pieces of rows, new in every step.
    return torch.autocast(device.type, dtype, cache_enabled=False)
