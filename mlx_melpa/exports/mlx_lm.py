"""LoRA in mlx-lm's own files, compared with our logits before it is called done."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..backends.adapted import AdaptedBase
from ..backends.base import BaseModel
from ..backends.checkpoints import Config
from ..backends.mlx import mx, nn, ops
from ..backends.mlx.patches import CPU
from ..core.layout import Layout
from ..errors import ExportError
from .common import (
    Exported,
    Metadata,
    adapter_values,
    block_names,
    check_logits,
    check_weights,
    file_sizes,
    left_out,
    lora_of,
    metadata_of,
    new_folder,
)

WEIGHTS, CONFIG = "adapters.safetensors", "adapter_config.json"


def mlx_lm(adapted: AdaptedBase, row: np.ndarray, out: Path, *, metadata: Metadata | None = None) -> Exported:
    """Writes a LoRA row (P,) as OUT/adapters.safetensors and adapter_config.json, which mlx-lm loads with this base.

    Raises ExportError, and leaves nothing behind, for another kind of adapter, and where mlx-lm's logits with these
    files are not ours.
    """
    metadata = metadata or metadata_of(adapted)
    lora_of(adapted, "mlx-lm")
    values = adapter_values(adapted.layout, row, metadata)
    weights = tensors(adapted, values)
    with new_folder(out, (WEIGHTS, CONFIG)) as draft:
        mx.save_safetensors(str(draft / WEIGHTS), {n: mx.array(w) for n, w in weights.items()}, {"format": "mlx"})
        (draft / CONFIG).write_text(json.dumps(config(adapted, metadata), indent=4) + "\n", encoding="utf-8")
        difference, scale = _compare(adapted, values, weights, draft)
    return Exported("mlx-lm", out, file_sizes(out), difference, scale, left_out(adapted, metadata))


def config(adapted: AdaptedBase, metadata: Metadata) -> Config:
    """mlx-lm's description of the adapter, with a note of where it comes from."""
    lora = lora_of(adapted, "mlx-lm")
    keys = sorted({site.path for site in adapted.sites})
    return {
        "fine_tune_type": "lora",
        "model": adapted.base.name,
        "num_layers": len(adapted.base.blocks) - min(site.layer for site in adapted.sites),
        "lora_parameters": {"rank": lora.rank, "scale": lora.scale, "dropout": 0.0, "keys": keys},
        "melpa": {"base": dict(metadata.base), "run": metadata.run},
    }


def tensors(adapted: AdaptedBase, values: np.ndarray) -> dict[str, np.ndarray]:
    """The adapter's weights under mlx-lm's names.

    mlx-lm puts LoRA at every key of the last `num_layers` blocks; where we have none it gets a fresh A and a zero B.
    """
    first, keys = min(site.layer for site in adapted.sites), {site.path for site in adapted.sites}
    there = [s for s in adapted.base.sites if s.role == "linear" and s.layer >= first and s.path in keys]
    weights, places = adapted.layout.views(values), block_names(adapted.base)
    rng, named = np.random.default_rng(0), {}
    for site in (s for s in there if not s.refused):
        layout = Layout(adapted.adapter.segments(site))
        fresh = layout.views(layout.draw(rng))
        for segment in layout.segments:
            leaf = segment.name.removeprefix(f"{site.name}.")
            named[f"{places[site.layer]}.{site.path}.{leaf}"] = weights.get(segment.name, fresh[segment.name])
    return named


def _compare(
    adapted: AdaptedBase, values: np.ndarray, weights: Mapping[str, np.ndarray], draft: Path
) -> tuple[float, float]:
    """Loads the files with mlx-lm and compares its weights and logits with ours, as `check_logits`."""
    model = _loaded(adapted.base, draft)
    taken = dict(ops.flatten(model.parameters()))
    check_weights("mlx-lm", weights, {name: ops.numpy(taken[name]) for name in weights if name in taken})
    precision = mx.finfo(model(mx.array([[1]])).dtype).eps
    return check_logits("mlx-lm", adapted, values, lambda tokens, _: model(tokens)[0], ops, precision)


def _loaded(base: BaseModel, draft: Path) -> nn.Module:
    from mlx_lm import load

    try:
        model = load(str(base.folder), adapter_path=str(draft))[0]
    except Exception as error:
        raise ExportError(f"mlx-lm can't load what was written ({error}); use --to melpa") from error
    if CPU:
        model.set_dtype(mx.float32)
    return model
