"""mlx-lm's LoRA files read back into a row, whoever trained them."""

import json
from pathlib import Path

import numpy as np

from ..backends.base import BaseModel
from ..backends.checkpoints import Config
from ..backends.mlx import mx, ops
from ..core.sites import Site
from ..core.types import Tree
from ..errors import ExportError
from .common import Imported, Metadata, block_names, layout_of
from .melpa import build
from .mlx_lm import CONFIG, WEIGHTS


def read_mlx_lm(base: BaseModel, folder: Path) -> Imported:
    """Reads FOLDER/adapters.safetensors and adapter_config.json as a LoRA of `base` and its row (P,).

    Sites whose B is zero are left out where others are not: they change nothing. Raises ExportError for missing or
    damaged files, DoRA and full fine-tuning, tensors that are no site of the base, and shapes that don't fit.
    """
    described = _config(folder / CONFIG)
    sites = _sites(base, folder / WEIGHTS)
    rank = next(iter(sites.values()))[0].shape[1]
    for site, (a, b) in sites.items():
        if a.shape != (site.width_in, rank) or b.shape != (rank, site.width_out):
            raise ExportError(
                f"'{site.name}' has factors of shapes {a.shape} and {b.shape}, '{base.name}' needs "
                f"({site.width_in}, {rank}) and ({rank}, {site.width_out}); give the base that it was trained on"
            )
    acting = {site: pair for site, pair in sites.items() if pair[1].any()} or sites
    settings = {
        "kind": "lora",
        "rank": rank,
        "scale": described["lora_parameters"]["scale"],
        "sites": sorted({site.path for site in acting}),
        "layers": sorted({site.layer for site in acting}),
    }
    layout = layout_of(base, build(settings))
    weights = layout.views(layout.draw(np.random.default_rng(0)))
    for site, (a, b) in sites.items():
        weights |= {f"{site.name}.lora_a": a, f"{site.name}.lora_b": b}
    known = described.get("melpa", {}).get("base", {})
    return Imported(settings, layout.row(weights), Metadata(layout, known))


def read_config(path: Path) -> Config:
    """Reads adapter_config.json; raises ExportError where it is missing or no JSON object."""
    try:
        described: Config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(
            f"there is no adapter in {path.parent} ({error.strerror}: {path.name}); give a folder that mlx-lm or melpa "
            "wrote"
        ) from error
    except ValueError as error:
        raise ExportError(f"{path} is no JSON ({error}); export the adapter again") from error
    if not isinstance(described, dict):
        raise ExportError(f"{path} is no JSON object; export the adapter again")
    return described


def _config(path: Path) -> Config:
    described = read_config(path)
    kind = described.get("fine_tune_type", "lora")
    if kind != "lora":
        raise ExportError(
            f"{path} describes '{kind}' fine-tuning, which is no LoRA row; train it with --fine-tune-type lora"
        )
    scale = (described.get("lora_parameters") or {}).get("scale")
    if not isinstance(scale, int | float) or not scale > 0:
        raise ExportError(f"{path} has the scale {scale!r} in lora_parameters; write the one that it was trained with")
    return described


def _sites(base: BaseModel, path: Path) -> dict[Site, tuple[np.ndarray, np.ndarray]]:
    """Both factors of each site, in the order of the base's sites."""
    places = block_names(base)
    known = {f"{places[s.layer]}.{s.path}": s for s in base.sites if s.role == "linear"}
    factors: dict[str, dict[str, np.ndarray]] = {}
    for name, array in _arrays(path).items():
        stem, _, leaf = name.rpartition(".")
        if stem not in known or leaf not in ("lora_a", "lora_b"):
            raise ExportError(
                f"{path}: '{name}' is no LoRA factor of a linear layer in a block of '{base.name}'; remove it"
            )
        if known[stem].refused:
            raise ExportError(f"{path}: {known[stem].refused}")
        factors.setdefault(stem, {})[leaf] = array
    single = [stem for stem, pair in factors.items() if len(pair) < 2]
    if single or not factors:
        raise ExportError(f"{path}: {single[0] + ' has one factor only' if single else 'no weights'}; export it again")
    ordered = (stem for stem in known if stem in factors)
    return {known[stem]: (factors[stem]["lora_a"], factors[stem]["lora_b"]) for stem in ordered}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ExportError(f"there is no {path.name} in {path.parent}; give a folder that mlx-lm or melpa wrote")
    try:
        found: Tree = mx.load(str(path))
        return {name: ops.numpy(array) for name, array in found.items()}
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"{path} can't be read ({error}); export it again") from error
