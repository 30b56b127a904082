"""`melpa export --to peft`: files that peft itself loads, with our logits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from mlx_melpa.config.build import part_of
from mlx_melpa.errors import ExportError
from mlx_melpa.exports import KINDS as FORMATS

torch = pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
peft = pytest.importorskip("peft", reason="pip install 'mlx-melpa[torch]'")
SITES = {"llama": ["q_proj", "down_proj"], "gpt2": ["attn.c_proj", "c_fc"], "bert": ["query"], "t5": ["q", "wo"]}


def row(adapted: Any) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, adapted.layout.size).astype(np.float32)


@pytest.mark.parametrize("kind", SITES)
def test_peft_answers_as_we_do(
    kind: str, folder_of: Callable[..., Path], put: Callable[..., Any], tmp_path: Path
) -> None:
    ops, base = part_of("torch", "ops"), part_of("torch", "model").load(str(folder_of(kind)))
    adapted = put("torch", "lora", base, rank=3, scale=1.5, sites=SITES[kind], layers=2)
    report = FORMATS["peft"].write(adapted, row(adapted), tmp_path / "out")
    assert set(report.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert report.difference <= 1e-5 * report.scale
    assert len(load_file(tmp_path / "out" / "adapter_model.safetensors")) == 2 * len(adapted.sites)
    # by transformers and peft alone, with nothing of ours
    import transformers as hf

    loader = {"bert": hf.AutoModelForMaskedLM, "t5": hf.AutoModelForSeq2SeqLM}.get(kind, hf.AutoModelForCausalLM)
    model = peft.PeftModel.from_pretrained(loader.from_pretrained(folder_of(kind)), tmp_path / "out").eval()
    tokens = torch.tensor([[5, 9, 33, 21]])
    given = {"decoder_input_ids": torch.tensor([[0]])} if kind == "t5" else {}
    with torch.no_grad():
        # t5 reads up to the first position asked about, and an end
        asked = torch.cat([tokens, torch.tensor([[2]])], 1) if kind == "t5" else tokens
        theirs = model(input_ids=asked, **given).logits[0, -1]
    ours = adapted.logits(*(ops.array(x) for x in (row(adapted)[None], tokens.numpy(), [3])))[0].cpu()
    assert (theirs - ours).abs().max() <= 1e-5 * max(1.0, float(ours.abs().max()))


def test_its_description_names_modules_as_servers_expect(bases: dict[str, Any], put: Any, tmp_path: Path) -> None:
    adapted = put("torch", rank=4, scale=2.0, sites=["q_proj", "v_proj"], layers=[1, 3])
    FORMATS["peft"].write(adapted, row(adapted), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["target_modules"], config["layers_to_transform"]) == (["q_proj", "v_proj"], [1, 3])
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (4, 8.0, "CAUSAL_LM")


def test_what_peft_has_no_place_for_is_refused(put: Any, tmp_path: Path) -> None:
    adapted = put("torch", "bottleneck")
    with pytest.raises(ExportError, match=r"peft has no place for a bottleneck adapter; .* --to melpa"):
        FORMATS["peft"].write(adapted, row(adapted), tmp_path / "out")
    lora = put("torch", base=part_of("torch", "model").load(str(adapted.base.folder)))
    with pytest.raises(ExportError, match="changes no logit"):
        FORMATS["peft"].write(lora, lora.layout.draw(np.random.default_rng(0)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
