"""The sections of `melpa bench speed`, and the run through them."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from ...config.schema import did_you_mean
from ...core.atomic import replace_text
from ...core.progress import Advance, silent
from ...core.types import Json
from ...errors import MelpaError
from .settings import Settings


class Section(NamedTuple):
    """A module with `measure(settings, advance) -> dict`, and `draw(result, folder)` if `draws`."""

    module: str
    draws: bool = False


SECTIONS = {
    "step": Section("inner_step", draws=True),
    "time_to_quality": Section("time_to_quality", draws=True),
    "meta": Section("meta_iteration"),
    "memory": Section("memory"),
    "limit": Section("roofline"),
    "start": Section("startup"),
}
PEERS = {"mlx-lm": ("mlx_lm",), "peft": ("torch", "transformers", "peft", "torchopt")}
"""The modules that each peer needs."""


def installed(peer: str) -> bool:
    """True if a peer can be measured here."""
    return all(find_spec(module) for module in PEERS[peer])


def known_names(names: Iterable[str], known: Iterable[str], option: str) -> tuple[str, ...]:
    """The names of an option; raises MelpaError for an unknown one."""
    names, known = tuple(names), tuple(known)
    for name in names:
        if name not in known:
            raise MelpaError(f"{option}: there is no '{name}'{did_you_mean(name, known)}")
    return names


def speed(settings: Settings, only: Iterable[str] = (), advance: Advance = silent) -> Json:
    """Measures sections one by one and returns {section: numbers, "machine": ...}.

    With `settings.out` also OUT/speed.json, after each section, and plots. Raises MelpaError for an unknown section or
    a missing peer, before anything is measured.
    """
    only = known_names(only, SECTIONS, "--only") or tuple(SECTIONS)
    for peer in known_names(settings.peers, PEERS, "--peer"):
        if not installed(peer):
            missing = ", ".join(m for m in PEERS[peer] if not find_spec(m))
            raise MelpaError(
                f"--peer {peer}: {missing} is missing; run: pip install 'mlx-melpa[bench]', or leave it out"
            )
    if settings.out is not None and not find_spec("matplotlib"):
        raise MelpaError("--out: plots need matplotlib; run: pip install 'mlx-melpa[plots]', or leave --out out")
    results: Json = {"machine": machine()}
    for name in only:
        advance(0, name)
        module = import_module(f".{SECTIONS[name].module}", __package__)
        results[name] = module.measure(settings, advance)
        if settings.out is not None:
            replace_text(settings.out / "speed.json", json.dumps(results, indent=1) + "\n")
            if SECTIONS[name].draws:
                module.draw(results[name], settings.out)
    return results


def machine() -> Json:
    """The machine: what `melpa doctor` measures, threads of a matrix product, load before, versions, date."""
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
