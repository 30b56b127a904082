"""LoRA in PEFT's files, which vLLM and LoRAX serve, compared with our logits before it is called done."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ..errors import ExportError
from .common import MOST, ROUNDINGS, TEXTS, Meta, Report, adapter_row, meta_of, sizes, whole

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TASKS = {"causal": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM", "encoder": "FEATURE_EXTRACTION"}


def peft(adapted: Any, row: np.ndarray, out: Path, *, meta: Meta | None = None) -> Report:
    """Writes a LoRA row (P,) as OUT/adapter_model.safetensors and adapter_config.json for `peft` with this base.

    `adapted` is of the torch engine. Raises ExportError, and leaves nothing behind, for another kind of adapter,
    without torch and peft, and where peft's logits with these files are not ours.
    """
    meta = meta or meta_of(adapted)
    if adapted.adapter.kind != "lora":
        raise ExportError(f"a {adapted.adapter.kind} adapter has no place in PEFT's files; write it with: --to melpa")
    if not hasattr(adapted.base.model, "state_dict"):
        raise ExportError(f"PEFT's files are checked on torch, and '{adapted.base.name}' is loaded on another engine")
    if adapted.base.folder is None:
        raise ExportError(f"base '{adapted.base.name}' has no folder that peft could load; write it with: --to melpa")
    own = adapter_row(adapted.layout, row, meta)
    weights = tensors(adapted, own)
    with whole(out, (WEIGHTS, CONFIG)) as draft:
        note = json.dumps({"base": dict(meta.base), "run": meta.run})
        save_file(weights, draft / WEIGHTS, {"format": "pt", "melpa": note})
        (draft / CONFIG).write_text(json.dumps(config(adapted), indent=2) + "\n", encoding="utf-8")
        difference, scale = compare(adapted, own, weights, draft)
    beyond = [segment.name for segment in meta.layout.segments[len(adapted.layout.segments) :]]
    return Report("peft", out, sizes(out), difference, scale, (*beyond, *meta.arrays))


def tensors(adapted: Any, own: np.ndarray) -> dict[str, np.ndarray]:
    """The adapter's weights under PEFT's names: lora_A (r, in) and lora_B (out, r) at each module."""
    weights, places = adapted.layout.views(own), _places(adapted.base)
    return {
        f"base_model.model.{places[site.layer]}.{site.path}.{theirs}.weight": np.ascontiguousarray(
            weights[f"{site.name}.{ours}"].T
        )
        for site in adapted.sites
        for ours, theirs in (("lora_a", "lora_A"), ("lora_b", "lora_B"))
    }


def config(adapted: Any) -> dict[str, Any]:
    """PEFT's description of the adapter; where it comes from is noted beside the weights, since peft warns of more."""
    base, adapter = adapted.base, adapted.adapter
    return {
        "peft_type": "LORA",
        "task_type": TASKS[base.kind],
        "base_model_name_or_path": base.name if base.name != "pocket" else str(base.folder),
        "inference_mode": True,
        "r": adapter.rank,
        "lora_alpha": adapter.scale * adapter.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": base.config.get("model_type") == "gpt2",
        **_targets(adapted),
    }


def _targets(adapted: Any) -> dict[str, Any]:
    """Modules by their last names, as servers expect them, where these name our sites and no other; else in full."""
    linear = [site for site in adapted.base.sites if site.role == "linear"]
    layers = sorted({site.layer for site in adapted.sites})
    names = sorted({site.path.rsplit(".", 1)[-1] for site in adapted.sites})
    named = [s for s in linear if s.layer in layers and s.path.rsplit(".", 1)[-1] in names]
    places = _places(adapted.base)
    if named != adapted.sites or len({place.rsplit(".", 1)[0] for place in places}) > 1:
        return {"target_modules": [f"{places[site.layer]}.{site.path}" for site in adapted.sites]}
    some = {} if len(layers) == len(places) else {"layers_to_transform": layers}
    return {"target_modules": names, **some}


def _places(base: Any) -> list[str]:
    """The path of each block in the model, as in "model.layers.0"."""
    paths = {id(module): path for path, module in base.model.named_modules()}
    return [paths[id(block)] for block in base.blocks]


def compare(adapted: Any, own: np.ndarray, weights: dict[str, np.ndarray], draft: Path) -> tuple[float, float]:
    """The largest difference between peft's logits with the files and ours with the row, and the largest logit.

    Raises ExportError where they differ, where a weight was not taken, and where the adapter changes nothing.
    """
    from ..backends.torch import ops

    theirs, taken = _loaded(adapted.base, draft)
    lost = [n for n, w in weights.items() if n not in taken or not np.array_equal(ops.numpy(taken[n]), w)]
    if lost:
        raise ExportError(
            f"peft did not take {len(lost)} of {len(weights)} weights, the first is {lost[0]}; use --to melpa"
        )
    difference = scale = moved = 0.0
    allowed = max(MOST, ROUNDINGS * ops.precision())
    for text in TEXTS:
        tokens = ops.array([adapted.base.tokenizer.encode(text)])
        index = ops.array(np.arange(tokens.shape[1]))
        rows = ops.array(own[None])
        answers = (adapted.logits(rows, tokens, index), adapted.base.logits(tokens, index), theirs(tokens, index))
        ours, plain, found = (ops.numpy(answer) for answer in answers)
        difference = max(difference, float(np.abs(found - ours).max()))
        scale, moved = max(scale, float(np.abs(ours).max())), max(moved, float(np.abs(ours - plain).max()))
    if moved == 0:
        raise ExportError(
            "this adapter changes no logit of its base, so there is nothing to export; adapt with more steps"
        )
    if not difference <= allowed * scale:
        raise ExportError(
            f"peft's logits differ from ours by {difference:.3g} of {scale:.3g}, so nothing was written; use --to melpa"
        )
    return difference, scale


def _loaded(base: Any, draft: Path) -> tuple[Any, dict[str, Any]]:
    """Logits of a second copy of the base with the files in it, and the weights that peft took."""
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise ExportError(
            f"--to peft is checked with peft itself, which is not here ({error}); run: pip install 'mlx-melpa[torch]'"
        ) from error
    from ..backends.torch.model import load

    fresh = load(str(base.folder))
    try:
        with warnings.catch_warnings():  # peft calls what transformers will rename
            warnings.simplefilter("ignore", FutureWarning)
            model = PeftModel.from_pretrained(fresh.model, str(draft))
    except Exception as error:
        raise ExportError(f"peft can't load what was written ({error}); use --to melpa") from error
    return fresh.logits, get_peft_model_state_dict(model)
