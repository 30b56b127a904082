"""The sections of `melpa bench speed` by name, and the run through them"""

import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...config.schema import did_you_mean
from ...core.atomic import replace_text
from ...errors import MelpaError
from .settings import Advance, Settings

SECTIONS = {
    "step": "inner_step",
    "time_to_quality": "time_to_quality",
    "meta": "meta_iteration",
    "memory": "memory",
    "many": "batched_users",
    "limit": "roofline",
    "start": "startup",
    "growth": "scaling",
}
"""Section: its module, with `measure(settings, advance) -> dict`, and `draw(found, folder)` if it has pictures."""
APART = ("growth",)
"""Sections that run only where they are named."""
PEERS = {"mlx-lm": ("mlx_lm",), "peft": ("torch", "transformers", "peft", "torchopt")}
"""Peer: the modules that it takes."""


def installed(peer: str) -> bool:
    """Says whether a peer can be measured here."""
    return all(find_spec(module) for module in PEERS[peer])


def check(names: Iterable[str], known: Iterable[str], option: str) -> tuple[str, ...]:
    """The names of an option; raises MelpaError for one that is not known."""
    names, known = tuple(names), tuple(known)
    for name in names:
        if name not in known:
            raise MelpaError(f"{option}: there is no '{name}'{did_you_mean(name, known)}")
    return names


def speed(settings: Settings, only: Iterable[str] = (), advance: Advance = lambda *_: None) -> dict[str, Any]:
    """Runs sections (all but APART, unless some are named) one by one and gives {section: numbers, "machine": ...}.

    With `settings.out` also OUT/speed.json, after each section, and pictures. Raises MelpaError for a section or peer
    that is not there, before anything is measured.
    """
    only = check(only, SECTIONS, "--only") or tuple(name for name in SECTIONS if name not in APART)
    for peer in check(settings.peers, PEERS, "--peer"):
        if not installed(peer):
            missing = ", ".join(m for m in PEERS[peer] if not find_spec(m))
            raise MelpaError(
                f"--peer {peer}: {missing} is missing; run: pip install 'mlx-melpa[bench]', or leave it out"
            )
    if settings.out is not None and not find_spec("matplotlib"):
        raise MelpaError("--out: plots need matplotlib; run: pip install 'mlx-melpa[plots]', or leave --out out")
    found: dict[str, Any] = {"machine": machine()}
    for name in only:
        advance(0, name)
        module = import_module(f".{SECTIONS[name]}", __package__)
        found[name] = module.measure(settings, advance)
        if settings.out is not None:
            write(settings.out, found)
            if hasattr(module, "draw"):
                module.draw(found[name], settings.out)
    return found


def write(folder: Path, found: dict[str, Any]) -> None:
    """Writes what is found so far as FOLDER/speed.json."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "speed.json", json.dumps(found, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What is measured on: the doctor's look, the threads of a matrix product, the load before, the date."""
    from ...backends.machine import threads
    from ...backends.mlx.doctor import PACKAGES, examine, version

    load = os.getloadavg()[0]
    seen = asdict(examine())
    kept = {name: seen[name] for name in ("device", "cores", "memory_total", "blas", "gflops")}
    packages = {name: version(name) for name in (*PACKAGES, "torch", "peft", "torchopt")}
    return {
        **kept,
        "threads": threads(),
        "load": load,
        "versions": {"python": seen["versions"]["python"], **packages},
        "date": time.strftime("%Y-%m-%d"),
    }
