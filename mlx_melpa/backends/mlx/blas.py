"""A real BLAS for MLX on Linux x86-64, loaded before `mlx.core`.

The Linux wheel of MLX links the reference BLAS, some 25 times slower than the processor. Its `cblas_*` calls are bound
by the dynamic linker, so a library loaded first and globally answers them instead. On a Mac nothing here does anything.
"""

import ctypes
import importlib.metadata
import os
import platform
import sys
import warnings
from pathlib import Path

_loaded: str | None = None


def wanted() -> bool:
    """True if MLX needs another BLAS on this machine: Linux on x86-64."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _mkl() -> Path | None:
    """Finds the MKL runtime that the `mkl` package installed."""
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [Path(str(f.locate())).resolve() for f in files if f.name.startswith("libmkl_rt.so")]
    return found[0] if found and found[0].is_file() else None


def _reproducible() -> str:
    """The widest instructions that this processor has, in products that don't depend on how memory is aligned."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return "AUTO"
    return "AVX512,STRICT" if "avx512f" in flags else "AVX2,STRICT" if "avx2" in flags else "AUTO"


def load() -> str | None:
    """Loads MKL once and returns its file name; None where there is none, or none is needed, or it is too late.

    `MKL_CBWR` is set first: products are then bit-identical from run to run at one number of threads. Warns where
    somebody imported `mlx.core` first.
    """
    global _loaded
    if _loaded or not wanted():
        return _loaded
    library = _mkl()
    if library is None:
        return None
    if "mlx.core" in sys.modules:
        what = "mlx.core was imported before mlx_melpa, so matrix products are some 25 times slower than need be"
        warnings.warn(f"{what}; import mlx_melpa.backends.mlx first", RuntimeWarning, stacklevel=3)
        return None
    os.environ.setdefault("MKL_CBWR", _reproducible())
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    _loaded = library.name
    return _loaded


def name() -> str:
    """Names the BLAS in use, for people and for a run's record."""
    if sys.platform == "darwin":
        return "Accelerate"
    return _loaded or "reference (slow)"
