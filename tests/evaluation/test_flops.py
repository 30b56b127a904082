"""The counted operations of an inner step, held against torch's own counter on the same architecture."""

from typing import Any

import numpy as np
import pytest

from mlx_melpa.benchmarks.speed.fixtures import on_numbers, random_batch, random_theta
from mlx_melpa.config.kinds import kinds
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.evaluation.flops import Work, flops, names, products

torch = pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
pytest.importorskip("transformers", reason="pip install 'mlx-melpa[torch]'")
CONFIG = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
EXAMPLES, LENGTH, SIZE = 3, 20, 2
SITES: list[list[str]] = [["*"], ["q_proj", "down_proj"], ["v_proj"], ["up_proj"], ["o_proj", "gate_proj"]]
ADAPTERS: list[tuple[str, dict[str, Any]]] = [("lora", {"rank": SIZE, "sites": sites}) for sites in SITES]
ADAPTERS += [("full", {"sites": sites}) for sites in SITES[:3]]
ADAPTERS += [("bottleneck", {"width": SIZE, "placement": placement}) for placement in ("houlsby", "pfeiffer")]
ADAPTERS += [("prefix", {"length": SIZE})]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((kind, {**settings, "layers": layers}) for kind, settings in ADAPTERS for layers in ("all", 2)),
        ("prompt", {"tokens": SIZE}),
    ],
)
def test_the_formula_is_what_torch_counts(kind: str, settings: dict[str, Any]) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaConfig, LlamaForCausalLM

    from mlx_melpa.backends.torch.model import wrap

    config = LlamaConfig(**CONFIG, architectures=["LlamaForCausalLM"])
    base = wrap("tiny", LlamaForCausalLM(config), None, {**CONFIG, "model_type": "llama"})
    setup = on_numbers(base, {"backend": "torch", "adapter": {"kind": kind, **settings}})
    parts, begun = setup.parts, random_theta(setup)
    support = random_batch(setup, 1, EXAMPLES, LENGTH, one_in=4)
    state = adapt.begin(parts, begun, support)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        adapt.gradient(parts, begun, state, support)
    model = parts.problem.model
    work = Work(EXAMPLES, LENGTH, EXAMPLES * LENGTH // 4, model.adapter, names(model.sites))
    assert flops(products(CONFIG, work)) == counter.get_total_flops()


def test_frozen_blocks_and_still_inputs_count_for_nothing() -> None:
    upper = Work(1, 10, 1, kinds("adapter")["lora"](rank=1), frozenset({"2.self_attn.v_proj"}))
    found = products(CONFIG, upper)
    assert sum(p.name == "linear" for p in found) == 7
    # from v on: its own output's way goes through o, gate, up and down, and none leads back into q, k or v
    assert sum(p.name == "linear back" for p in found) == 4
    assert np.array([p.flops for p in found]).min() > 0
