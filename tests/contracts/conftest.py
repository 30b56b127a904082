"""The bases that every adapter is held on."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base, load, wrap

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 64,
}
OWN: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "qwen3": {"head_dim": 8, "tie_word_embeddings": False},
    "gemma3_text": {"head_dim": 8, "sliding_window": 4, "sliding_window_pattern": 2},
    "phi3": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_next": {
        "head_dim": 8,
        "full_attention_interval": 2,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_conv_kernel_dim": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 16,
        "mlp_only_layers": [],
        "moe_intermediate_size": 16,
        "partial_rotary_factor": 0.5,
    },
}
SHARED = ("stories260k", "tinystories-instruct-3m")
BASES = ("pocket", *SHARED, "pocket-4bit", "pocket-8bit", *OWN)


def random_base(kind: str, tokenizer: Any) -> Base:
    """A tiny model of one of mlx-lm's architectures, with random weights."""
    module = import_module(f"mlx_lm.models.{kind}")
    config = {"model_type": kind, **SMALL, **OWN[kind]}
    mx.random.seed(0)
    return wrap(f"tiny {kind}", module.Model(module.ModelArgs.from_dict(config)), tokenizer, config)


def quantized(bits: int, folder: Path) -> Base:
    """The embedded base, quantized and saved by mlx-lm, then loaded as any folder is."""
    from mlx_lm import load as read
    from mlx_lm.utils import quantize_model, save

    from mlx_melpa.backends.checkpoints import POCKET

    model, tokenizer, config = read(str(POCKET), return_config=True)
    model, config = quantize_model(model, config, group_size=64, bits=bits)
    save(folder, str(POCKET), model, tokenizer, config)
    return load(str(folder))


@pytest.fixture(scope="session")
def pocket() -> Base:
    return load("pocket")


@pytest.fixture(scope="session", params=BASES)
def base(request: pytest.FixtureRequest, pocket: Base, tmp_path_factory: pytest.TempPathFactory) -> Base:
    name = request.param
    if name == "pocket":
        return pocket
    if name in SHARED:
        return load(str(request.getfixturevalue("shared") / "models" / name))
    if name in OWN:
        return random_base(name, pocket.tokenizer)
    return quantized(int(name[7]), tmp_path_factory.mktemp(name))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the adapter."""
    return request.param


@pytest.fixture
def put(base: Base, kind: str) -> Iterator[Callable[..., Adapted]]:
    """Puts an adapter of this kind, with settings, on the base, and takes it off when the test ends."""
    there: list[Adapted] = []

    def on(**settings: Any) -> Adapted:
        if kind == "prompt":  # it sits before all blocks
            settings.pop("layers", None)
        there.append(Adapted(base, KINDS[kind](**settings)))
        return there[-1]

    yield on
    for adapted in there:
        adapted.detach()
