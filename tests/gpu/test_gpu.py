"""What only a card can show: speed, use of its arithmetic, memory, many users at once. Run by `make gpu`.

Numbers go to runs/gpu/numbers.json. With MELPA_REHEARSAL=1 the same code runs on tiny sizes anywhere, and only what
does not depend on speed is held.
"""

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlx_melpa.adapters import lora
from mlx_melpa.config.build import part_of
from mlx_melpa.core import inner_loop as adapt
from mlx_melpa.core.protocols import Components
from mlx_melpa.initializers import universal
from mlx_melpa.learners import KINDS as LEARNERS
from mlx_melpa.regularizers import none
from mlx_melpa.rules import sgd

torch = pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
hf = pytest.importorskip("transformers", reason="pip install 'mlx-melpa[torch]'")
REHEARSAL = bool(os.environ.get("MELPA_REHEARSAL"))
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not (torch.cuda.is_available() or REHEARSAL), reason="needs a CUDA card"),
]
LARGE = {"hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192, "num_attention_heads": 32}
LARGE |= {"num_key_value_heads": 8, "vocab_size": 32000}
SMALL = {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 2048, "num_attention_heads": 12}
SMALL |= {"num_key_value_heads": 12, "vocab_size": 32000}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4}
TINY |= {"num_key_value_heads": 2, "vocab_size": 64}
SITES = ["q_proj", "v_proj"]
NUMBERS = Path(__file__).parents[2] / "runs" / "gpu" / "numbers.json"


def note(**found: Any) -> None:
    """Adds numbers to the file that `make gpu` prints."""
    NUMBERS.parent.mkdir(parents=True, exist_ok=True)
    whole = json.loads(NUMBERS.read_text()) if NUMBERS.is_file() else {}
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu, a rehearsal"
    where = {"card": card, "cuda": torch.version.cuda, "torch": torch.__version__, "date": str(date.today())}
    NUMBERS.write_text(json.dumps({**whole, **where, **found}, indent=1) + "\n")


def llama(sizes: dict[str, int], **how: Any) -> Any:
    torch.manual_seed(0)
    config = hf.LlamaConfig(**(TINY if REHEARSAL else sizes), max_position_embeddings=512)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return hf.AutoModelForCausalLM.from_config(config, **how)


class NextToken:
    """Cross-entropy of the next token over whole sequences: a problem with nothing to prepare."""

    def __init__(self, ops: Any, model: Any):
        self.ops, self.model, self.layout = ops, model, model.layout

    def losses(self, rows: Any, batch: Any) -> Any:
        tokens = batch["tokens"]
        logits = self.model.logits(rows, tokens[:, :-1], batch["index"])
        each = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].reshape(-1), reduction="none")
        return each.reshape(rows.shape[0], -1).mean(1)


def parts_of(sizes: dict[str, int]) -> tuple[Components, Any]:
    ops, module = part_of("torch", "ops"), part_of("torch", "model")
    model = llama(sizes)
    base = module.wrap("random llama", model, SimpleNamespace(eos_token_id=0), model.config.to_dict())
    adapted = part_of("torch", "adapted").Adapted(base, lora(rank=8, sites=SITES))
    problem: Any = NextToken(ops, adapted)
    parts = Components(ops, problem, universal(ops), sgd(ops, adapted.layout, lr=0.01), none(ops))
    start = adapted.layout.draw(np.random.default_rng(0))
    return parts, {"initializer": {"start": ops.array(start)}, "rule": {}, "regularizer": {}}


def batch(parts: Components, tasks: int, each: int, length: int, seed: int = 0) -> dict[str, Any]:
    ops, most = parts.ops, parts.problem.model.base.model.config.vocab_size  # type: ignore[attr-defined]
    tokens = np.random.default_rng(seed).integers(0, most, (tasks * each, length + 1))
    index = ops.array(np.arange(tasks * each * length))
    return {"tokens": ops.array(tokens), "index": index, "weights": ops.ones((tasks, each))}


def seconds(call: Callable[[], Any], times: int = 3) -> float:
    """The best of a few, after one that warms up."""
    ops, best = part_of("torch", "ops"), float("inf")
    for i in range(times + 1):
        began = perf_counter()
        call()
        ops.evaluate()
        best = min(best, perf_counter() - began) if i else best
    return best


def test_an_inner_step_uses_the_cards_arithmetic() -> None:
    parts, theta = parts_of(LARGE)
    tasks, each, length = (2, 1, 8) if REHEARSAL else (8, 4, 256)
    support = batch(parts, tasks, each, length)
    state = adapt.begin(parts, theta, support)
    took = seconds(lambda: adapt.step(parts, theta, 0, state, support))
    base = parts.problem.model.base  # type: ignore[attr-defined]
    embedding = base.model.get_input_embeddings().weight.numel()
    # Forward, and back through activations alone: the frozen weights have no gradient.
    done = 4 * (base.parameters - embedding) * tasks * each * length
    n = 256 if REHEARSAL else 8192
    ops = part_of("torch", "ops")
    a = torch.randn(n, n, device=ops.device, dtype=torch.bfloat16)
    peak = 2 * n**3 / seconds(lambda: a @ a)
    used = done / took / peak
    note(
        inner_step={
            "seconds": took,
            "tflops": done / took / 1e12,
            "of_a_plain_product": used,
            "tokens": tasks * each * length,
            "parameters": base.parameters,
            "dtype": str(part_of("torch", "device").dtype),
        }
    )
    assert REHEARSAL or used >= 0.4


def test_many_users_at_once_beat_one_by_one() -> None:
    parts, theta = parts_of(SMALL)
    users = 8 if REHEARSAL else 256
    everyone = batch(parts, users, 1, 8 if REHEARSAL else 64)
    length = everyone["tokens"].shape[1] - 1
    alone = [
        {
            **everyone,
            "tokens": everyone["tokens"][i : i + 1],
            "index": everyone["index"][:length],
            "weights": parts.ops.ones((1, 1)),
        }
        for i in range(users)
    ]
    steps = 2
    together = adapt.adapt(parts, theta, everyone, steps)["rows"]
    apart = torch.cat([adapt.adapt(parts, theta, one, steps)["rows"] for one in alone[:4]])
    assert (together[:4] - apart).abs().max() <= (1e-5 if part_of("torch", "ops").precision() < 1e-6 else 2e-2)
    one = seconds(lambda: [adapt.adapt(parts, theta, each, steps) for each in alone], 1)
    all_ = seconds(lambda: adapt.adapt(parts, theta, everyone, steps), 1)
    note(users={"count": users, "one_by_one": one, "at_once": all_, "times_faster": one / all_})
    assert REHEARSAL or one / all_ >= 8


def test_memory_of_maml_is_flat_in_the_number_of_steps() -> None:
    parts, theta = parts_of(SMALL)
    ops = parts.ops
    support, query = (batch(parts, 2, 1 if REHEARSAL else 4, 8 if REHEARSAL else 128, seed) for seed in (0, 1))
    peaks = {}
    for steps in (5, 20):
        ops.reset_peak_memory()
        LEARNERS["maml"](parts, steps=steps).meta_grad(theta, support, query)
        ops.evaluate()
        peaks[steps] = ops.peak_memory()
    kept = 15 * 2 * 2 * parts.problem.layout.size * 4  # rows and gradients of the further steps
    note(memory={str(steps): peak for steps, peak in peaks.items()})
    assert REHEARSAL or peaks[20] - peaks[5] <= kept + 64e6


@pytest.mark.parametrize("learner", ["fomaml", "maml"])
def test_episodes_per_second_beside_peft_with_torchopt(learner: str) -> None:
    pytest.importorskip("peft", reason="pip install 'mlx-melpa[torch]'")
    pytest.importorskip("torchopt", reason="pip install torchopt")
    parts, theta = parts_of(SMALL)
    tasks, each, length, steps = (2, 2, 8, 2) if REHEARSAL else (16, 4, 64, 5)
    support, query = (batch(parts, tasks, each, length, seed) for seed in (0, 1))
    calls = {
        "ours": lambda: LEARNERS[learner](parts, steps=steps).meta_grad(theta, support, query),
        "peft": peer(support["tokens"], query["tokens"], tasks, steps, learner == "maml"),
    }
    found: dict[str, Any] = {}
    for name, call in calls.items():
        parts.ops.reset_peak_memory()
        took = seconds(call, 2)
        found |= {f"{name}_seconds": took, f"{name}_per_second": tasks / took}
        # of the card; with both bases on it. On a CPU only the whole process has a peak.
        found |= {f"{name}_bytes": parts.ops.peak_memory() if torch.cuda.is_available() else None}
    faster = found["peft_seconds"] / found["ours_seconds"]
    note(**{learner: {"tasks": tasks, "steps": steps, **found, "times_faster": faster}})
    assert REHEARSAL or faster >= 2


def peer(support: Any, query: Any, tasks: int, steps: int, exact: bool) -> Callable[[], Any]:
    """Meta-gradients one task after the other: PEFT's LoRA, TorchOpt's differentiable SGD, the loop unrolled."""
    import torchopt
    from peft import LoraConfig, get_peft_model
    from torch.func import functional_call

    ops, device = part_of("torch", "ops"), part_of("torch", "device")
    how = {"attn_implementation": "eager"} if exact else {}
    net = get_peft_model(llama(SMALL, **how).to(device.dtype), LoraConfig(r=8, lora_alpha=16, target_modules=SITES))
    start = {name: p for name, p in net.named_parameters() if p.requires_grad}
    for p in start.values():
        p.data = p.data.float()
    optimizer = torchopt.sgd(lr=0.01)

    def loss(weights: Any, tokens: Any) -> Any:
        with device.autocast():
            return functional_call(net, weights, args=(), kwargs={"input_ids": tokens, "labels": tokens}).loss

    def run() -> list[Any]:
        total = [torch.zeros_like(p) for p in start.values()]
        for t in range(tasks):
            own = slice(t * support.shape[0] // tasks, (t + 1) * support.shape[0] // tasks)
            weights, state = dict(start), optimizer.init(start)
            for _ in range(steps):
                slopes = torch.autograd.grad(loss(weights, support[own]), list(weights.values()), create_graph=exact)
                named = dict(zip(weights, slopes, strict=True))
                updates, state = optimizer.update(named, state, inplace=False)
                weights = torchopt.apply_updates(weights, updates, inplace=False)
            found = torch.autograd.grad(loss(weights, query[own]), list(start.values()))
            total = [a + b for a, b in zip(total, found, strict=True)]
        ops.evaluate()
        return total

    return run
