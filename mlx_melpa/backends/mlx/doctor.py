"""The machine as MLX sees it: device, memory, versions, the rate of a matrix product, and remedies for what is slow."""

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from .. import machine
from . import blas, ops
from .cpu_streams import LANES, lane
from .patches import install

PACKAGES = ("mlx-melpa", "mlx", "mlx-lm", "transformers")
# A core with a real BLAS does 50 GFLOP/s and more in fp32, with the reference BLAS of the Linux wheel 4.
MIN_GFLOPS_PER_CORE, MAX_CORES = 25.0, 4


@dataclass(frozen=True)
class Diagnosis:
    """The state of the machine: memory in bytes, `gflops` of an fp32 product, `compiler` None where there is none."""

    device: str
    cores: int
    memory_total: int
    memory_available: int | None
    versions: dict[str, str | None]
    blas: str
    gflops: float
    compiler: str | None
    store: str
    store_writable: bool
    cures: tuple[str, ...]


def gflops(size: int = 1024, times: int = 5) -> float:
    """Measures square fp32 matrix products on the default device, one in each lane: the best of `times`, in GFLOP/s."""
    a, b = mx.random.normal((2, size, size), key=mx.random.key(0))
    mx.eval(a, b, _in_lanes(a, b))
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        mx.eval(_in_lanes(a, b))
        best = min(best, time.perf_counter() - start)
    return LANES * 2 * size**3 / best / 1e9


def _in_lanes(a: mx.array, b: mx.array) -> list[mx.array]:
    found = []
    for i in range(LANES):
        with lane(i):
            found.append(a @ b)
    return found


def writable(folder: Path) -> bool:
    """True if `folder` can be written, or made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def version(package: str) -> str | None:
    """The installed version of a package; None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cures(rate: float, count: int, loaded: str, store: Path, versions: dict[str, str | None]) -> tuple[str, ...]:
    """One line for each thing that is slow or missing."""
    found = [f"{name} is missing; run: pip install {name}" for name, there in versions.items() if there is None]
    if blas.wanted() and rate < MIN_GFLOPS_PER_CORE * min(count, MAX_CORES):
        slow = f"matrix products run at {rate:.0f} GFLOP/s; "
        busy = "stop what else uses the processor, and unset MKL_NUM_THREADS and OMP_NUM_THREADS"
        found.append(slow + ("run: pip install mkl" if loaded.startswith("reference") else busy))
    if not writable(store):
        found.append(f"the store {store} can't be written; set MELPA_HOME to a folder that can")
    return tuple(found)


def examine() -> Diagnosis:
    """Examines the machine and measures it, in about a second."""
    install()
    info, count, rate = mx.device_info(), machine.cores(), gflops()
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    store = Path(os.environ.get("MELPA_HOME") or "~/.melpa").expanduser()
    # On a Mac MLX compiles through Metal; elsewhere it would call g++.
    compiler = None if sys.platform == "darwin" else shutil.which("g++")
    return Diagnosis(
        device=f"{info.get('device_name', platform.machine())} ({mx.default_device().type.name})",
        cores=count,
        memory_total=machine.memory_total(),
        memory_available=ops.memory_available(),
        versions=versions,
        blas=blas.name(),
        gflops=round(rate, 1),
        compiler=compiler,
        store=str(store),
        store_writable=writable(store),
        cures=cures(rate, count, blas.name(), store, versions),
    )
