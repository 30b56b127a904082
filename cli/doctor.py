"""`melpa doctor`: examines the machine, and names remedies for what is slow or missing."""

import sys
from dataclasses import asdict
from typing import Any

from .console import command, json_out, out, size, table
from .options import Json


@command
def doctor(json: Json = False) -> None:
    """Say what this machine has, and what would speed it up."""
    from mlx_melpa.backends.mlx.doctor import examine

    found, (second, wrong) = examine(), _torch()
    cures = [*found.cures, *wrong]
    if json:
        json_out({**asdict(found), "cures": cures, "torch": None if second is None else asdict(second)})
        return
    free = "" if found.memory_available is None else f", {size(found.memory_available)} available"
    rows = [
        ("device", f"{found.device}, {found.cores} cores"),
        ("memory", f"{size(found.memory_total)}{free}"),
        *((name, version or "missing") for name, version in found.versions.items()),
        ("matrix product", f"{found.gflops:.0f} GFLOP/s (fp32)"),
        ("store", f"{found.store} ({'writable' if found.store_writable else 'not writable'})"),
    ]
    if sys.platform != "darwin":
        rows.insert(-2, ("BLAS", found.blas))
        rows.insert(-1, ("C++ compiler", found.compiler or "none; none is needed, mx.compile stays off on a CPU"))
    if second is not None:
        rows.insert(
            -1, ("torch", f"{second.version} on {second.device}, {second.gflops:.0f} GFLOP/s ({second.format})")
        )
    table(("part", "found"), rows)
    for cure in cures:
        out(f"cure: {cure}")
    if not cures:
        out("Nothing is slow or missing.")


def _torch() -> tuple[Any, list[str]]:
    """The state of the second engine, None where it is not installed or can't be used, and remedies."""
    from importlib.util import find_spec

    from mlx_melpa.errors import MelpaError

    if find_spec("torch") is None:
        return None, []
    try:
        from mlx_melpa.config.build import part_of

        return part_of("torch", "doctor").examine(), []
    except MelpaError as error:
        return None, [str(error)]
