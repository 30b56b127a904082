"""LoRA in PEFT's files, which vLLM and LoRAX serve, compared with our logits before it is called done."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ..backends.adapted import AdaptedBase
from ..backends.base import BaseModel
from ..backends.checkpoints import Config
from ..core.types import Array
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

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TASKS = {"causal": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM", "encoder": "FEATURE_EXTRACTION"}


def peft(adapted: AdaptedBase, row: np.ndarray, out: Path, *, metadata: Metadata | None = None) -> Exported:
    """Writes a LoRA row (P,) as OUT/adapter_model.safetensors and adapter_config.json for `peft` with this base.

    `adapted` is of the torch engine. Raises ExportError, and leaves nothing behind, for another kind of adapter,
    without torch and peft, and where peft's logits with these files are not ours.
    """
    metadata = metadata or metadata_of(adapted)
    lora_of(adapted, "peft")
    if not hasattr(adapted.base.model, "state_dict"):
        raise ExportError(f"PEFT's files are checked on torch, and '{adapted.base.name}' is loaded on another engine")
    values = adapter_values(adapted.layout, row, metadata)
    weights = tensors(adapted, values)
    with new_folder(out, (WEIGHTS, CONFIG)) as draft:
        note = json.dumps({"base": dict(metadata.base), "run": metadata.run})
        save_file(weights, draft / WEIGHTS, {"format": "pt", "melpa": note})
        (draft / CONFIG).write_text(json.dumps(config(adapted), indent=2) + "\n", encoding="utf-8")
        difference, scale = _compare(adapted, values, weights, draft)
    return Exported("peft", out, file_sizes(out), difference, scale, left_out(adapted, metadata))


def tensors(adapted: AdaptedBase, values: np.ndarray) -> dict[str, np.ndarray]:
    """The adapter's weights under PEFT's names: lora_A (r, in) and lora_B (out, r) at each module."""
    weights, places = adapted.layout.views(values), block_names(adapted.base)
    return {
        f"base_model.model.{places[site.layer]}.{site.path}.{theirs}.weight": np.ascontiguousarray(
            weights[f"{site.name}.{ours}"].T
        )
        for site in adapted.sites
        for ours, theirs in (("lora_a", "lora_A"), ("lora_b", "lora_B"))
    }


def config(adapted: AdaptedBase) -> Config:
    """PEFT's description of the adapter; where it comes from is noted beside the weights, since peft warns of more."""
    base, lora = adapted.base, lora_of(adapted, "peft")
    return {
        "peft_type": "LORA",
        "task_type": TASKS[base.kind],
        "base_model_name_or_path": base.name if base.name != "pocket" else str(base.folder),
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": lora.scale * lora.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": base.config.get("model_type") == "gpt2",
        **_targets(adapted),
    }


def _targets(adapted: AdaptedBase) -> Config:
    """Modules by their last names, as servers expect them, where these name our sites and no other; else in full."""
    linear = [site for site in adapted.base.sites if site.role == "linear"]
    layers = sorted({site.layer for site in adapted.sites})
    names = sorted({site.path.rsplit(".", 1)[-1] for site in adapted.sites})
    named = [s for s in linear if s.layer in layers and s.path.rsplit(".", 1)[-1] in names]
    places = block_names(adapted.base)
    if named != adapted.sites or len({place.rsplit(".", 1)[0] for place in places}) > 1:
        return {"target_modules": [f"{places[site.layer]}.{site.path}" for site in adapted.sites]}
    some = {} if len(layers) == len(places) else {"layers_to_transform": layers}
    return {"target_modules": names, **some}


def _compare(
    adapted: AdaptedBase, values: np.ndarray, weights: dict[str, np.ndarray], draft: Path
) -> tuple[float, float]:
    """Loads the files with peft and compares its weights and logits with ours, as `check_logits`."""
    from ..backends.torch import ops

    peft_logits, taken = _loaded(adapted.base, draft)
    check_weights("peft", weights, {name: ops.numpy(weight) for name, weight in taken.items()})
    return check_logits("peft", adapted, values, peft_logits, ops, ops.precision())


def _loaded(base: BaseModel, draft: Path) -> tuple[Callable[[Array, Array], Array], dict[str, Array]]:
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
