"""LoRA in mlx-lm's own files, compared with our logits before it is called done."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.mlx import ops
from ..core.layout import Layout
from ..errors import ExportError
from .common import MOST, ROUNDINGS, TEXTS, Meta, Report, adapter_row, meta_of, sizes, whole

import mlx.core as mx  # isort: skip  (a line above loads the BLAS that mlx.core is to find)
from mlx.utils import tree_flatten  # isort: skip

WEIGHTS, CONFIG = "adapters.safetensors", "adapter_config.json"


def mlx_lm(adapted: Any, row: np.ndarray, out: Path, *, meta: Meta | None = None) -> Report:
    """Writes a LoRA row (P,) as OUT/adapters.safetensors and adapter_config.json, which mlx-lm loads with this base.

    Raises ExportError, and leaves nothing behind, for another kind of adapter, and where mlx-lm's logits with these
    files are not ours.
    """
    meta = meta or meta_of(adapted)
    if adapted.adapter.kind != "lora":
        raise ExportError(f"a {adapted.adapter.kind} adapter has no place in mlx-lm's files; write it with: --to melpa")
    if adapted.base.folder is None:
        raise ExportError(f"base '{adapted.base.name}' has no folder that mlx-lm could load; write it with: --to melpa")
    own = adapter_row(adapted.layout, row, meta)
    weights = tensors(adapted, own)
    with whole(out, (WEIGHTS, CONFIG)) as draft:
        mx.save_safetensors(str(draft / WEIGHTS), {n: mx.array(w) for n, w in weights.items()}, {"format": "mlx"})
        (draft / CONFIG).write_text(json.dumps(config(adapted, meta), indent=4) + "\n", encoding="utf-8")
        difference, scale = compare(adapted, own, weights, draft)
    beyond = [segment.name for segment in meta.layout.segments[len(adapted.layout.segments) :]]
    return Report("mlx-lm", out, sizes(out), difference, scale, (*beyond, *meta.arrays))


def block_names(base: Any) -> list[str]:
    """The path of each block in the model, as in "model.layers.0"."""
    paths = {id(module): path for path, module in base.model.named_modules()}
    return [paths[id(block)] for block in base.blocks]


def config(adapted: Any, meta: Meta) -> dict[str, Any]:
    """mlx-lm's description of the adapter, with a note of where it comes from."""
    adapter = adapted.adapter
    keys = sorted({site.path for site in adapted.sites})
    return {
        "fine_tune_type": "lora",
        "model": adapted.base.name,
        "num_layers": len(adapted.base.blocks) - min(site.layer for site in adapted.sites),
        "lora_parameters": {"rank": adapter.rank, "scale": adapter.scale, "dropout": 0.0, "keys": keys},
        "melpa": {"base": dict(meta.base), "run": meta.run},
    }


def tensors(adapted: Any, own: np.ndarray) -> dict[str, np.ndarray]:
    """The adapter's weights under mlx-lm's names.

    mlx-lm puts LoRA at every key of the last `num_layers` blocks; where we have none it gets a fresh A and a zero B.
    """
    first, keys = min(site.layer for site in adapted.sites), {site.path for site in adapted.sites}
    there = [s for s in adapted.base.sites if s.role == "linear" and s.layer >= first and s.path in keys]
    weights, places = adapted.layout.views(own), block_names(adapted.base)
    rng, named = np.random.default_rng(0), {}
    for site in (s for s in there if not s.refused):
        layout = Layout(adapted.adapter.segments(site))
        fresh = layout.views(layout.draw(rng))
        for segment in layout.segments:
            leaf = segment.name.removeprefix(f"{site.name}.")
            named[f"{places[site.layer]}.{site.path}.{leaf}"] = weights.get(segment.name, fresh[segment.name])
    return named


def compare(adapted: Any, own: np.ndarray, weights: Mapping[str, np.ndarray], draft: Path) -> tuple[float, float]:
    """The largest difference between mlx-lm's logits with the files and ours with the row, and the largest logit.

    Raises ExportError where they differ, where a weight was not taken, and where the adapter changes nothing.
    """
    model = _loaded(adapted.base, draft)
    taken = dict(tree_flatten(model.parameters()))
    lost = [n for n, w in weights.items() if n not in taken or not np.array_equal(ops.numpy(taken[n]), w)]
    if lost:
        raise ExportError(
            f"mlx-lm did not take {len(lost)} of {len(weights)} weights, the first is {lost[0]}; use --to melpa"
        )
    difference = scale = moved = 0.0
    allowed = MOST
    for text in TEXTS:
        tokens = mx.array([adapted.base.tokenizer.encode(text)])
        index = mx.arange(tokens.size)
        ours = ops.numpy(adapted.logits(mx.array(own[None]), tokens, index))
        plain = ops.numpy(adapted.logits(mx.zeros((1, own.size)), tokens, index))
        answer = model(tokens)[0]
        theirs, allowed = ops.numpy(answer), max(MOST, ROUNDINGS * mx.finfo(answer.dtype).eps)
        difference = max(difference, float(np.abs(theirs - ours).max()))
        scale, moved = max(scale, float(np.abs(ours).max())), max(moved, float(np.abs(ours - plain).max()))
    if moved == 0:
        raise ExportError(
            "this adapter changes no logit of its base, so there is nothing to export; adapt with more steps"
        )
    if not difference <= allowed * scale:
        raise ExportError(
            f"mlx-lm's logits differ from ours by {difference:.3g} of {scale:.3g}, so nothing was written; "
            "use --to melpa"
        )
    return difference, scale


def _loaded(base: Any, draft: Path) -> Any:
    from mlx_lm import load

    try:
        model = load(str(base.folder), adapter_path=str(draft))[0]
    except Exception as error:
        raise ExportError(f"mlx-lm can't load what was written ({error}); use --to melpa") from error
    if mx.default_device().type == mx.DeviceType.cpu:
        model.set_dtype(mx.float32)
    return model
