"""Loading a base: identity, sites, and what is refused with a remedy."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import mlx.core as mx
import mlx.nn as nn
import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.backends.checkpoints import POCKET
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base, load, wrap
from mlx_melpa.errors import ModelError


@pytest.fixture(scope="module")
def pocket() -> Base:
    return load("pocket")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POCKET, tmp_path / "copy"))


def refused(name: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(str(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_folder_and_no_hub_name() -> None:
    assert "model './nowhere' is no folder here and no hub name; give 'pocket', a folder" in refused("./nowhere")


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    assert f"there is no config.json in {tmp_path}; give a folder that mlx-lm loads" in refused(tmp_path)


def test_a_hub_name_that_can_not_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refused("nobody-here/no-such-model")
    assert message.startswith("model 'nobody-here/no-such-model' can't be fetched: ")
    assert message.endswith("check the name and the network, or give a local folder")


def test_a_folder_without_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert refused(copy).startswith(f"model '{copy}' can't be loaded: ")


def test_an_architecture_that_mlx_lm_does_not_have(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "abacus"}))
    assert "abacus" in refused(copy)


def test_a_copy_is_the_same_base_and_other_weights_are_of_the_same_family(pocket: Base, copy: Path) -> None:
    same = load(str(copy))
    assert (same.family, same.weights) == (pocket.family, pocket.weights)
    arrays: Any = mx.load(str(copy / "model.safetensors"))
    mx.eval(arrays)
    mx.save_safetensors(str(copy / "model.safetensors"), {name: 2 * a for name, a in arrays.items()})
    other = load(str(copy))
    assert other.family == pocket.family and other.weights != pocket.weights


def test_another_tokenizer_is_another_family(pocket: Base, copy: Path) -> None:
    text = (copy / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = json.loads(text)
    vocabulary = tokenizer["model"]["vocab"]
    first, second = (next(t for t, i in vocabulary.items() if i == n) for n in (1000, 1001))
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert load(str(copy)).family != pocket.family


def test_an_adapter_on_an_adapter_is_refused_and_leaves_no_trace(pocket: Base) -> None:
    first = Adapted(pocket, KINDS["lora"](sites=["down_proj"], layers=1))
    with pytest.raises(ModelError, match="pocket already carries an adapter; detach that one first"):
        Adapted(pocket, KINDS["lora"](sites=["q_proj", "down_proj"]))
    first.detach()
    Adapted(pocket, KINDS["lora"](sites=["q_proj", "down_proj"])).detach()


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(8, 8)

    def __call__(self, x: mx.array) -> tuple[mx.array, None]:
        return x + self.proj(x), None


class _Pairs(nn.Module):
    """A model whose blocks return tuples, as gemma4's do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(16, 8)
        self.layers = [_Block() for _ in range(4)]
        self.lm_head = nn.Linear(8, 16)

    def __call__(self, tokens: mx.array) -> mx.array:
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x, _ = layer(x)
        return self.lm_head(x)


def test_blocks_that_return_tuples_run_without_the_frozen_prefix(pocket: Base) -> None:
    base = wrap("pairs", _Pairs(), pocket.tokenizer, {"model_type": "pairs"})
    adapted = Adapted(base, KINDS["lora"](rank=2, layers=1))
    tokens = mx.array([[1, 2, 3]])
    assert adapted.frozen_blocks == 0
    assert type(base.blocks[0]) is _Block
    row = mx.ones((1, adapted.layout.size))
    still = adapted.hidden(mx.zeros((1, adapted.layout.size)), tokens)
    assert mx.abs(adapted.hidden(row, tokens) - still).max().item() > 0.1


def test_experts_are_refused_by_name_with_the_reason(pocket: Base) -> None:
    from mlx_lm.models.mixtral import Model, ModelArgs

    config = {"model_type": "mixtral", "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
    config |= {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 2, "vocab_size": 16}
    base = wrap("experts", Model(ModelArgs.from_dict(config)), pocket.tokenizer, config)
    with pytest.raises(ModelError) as caught:
        Adapted(base, KINDS["lora"](sites=["up_proj"]))
    assert "'block_sparse_moe.switch_mlp.up_proj' of experts belongs to a mixture of experts" in str(caught.value)
    assert "adapt attention, or the block's output with a bottleneck" in str(caught.value)
    assert {s.path.split(".")[-1] for s in Adapted(base, KINDS["lora"]()).sites} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    }
