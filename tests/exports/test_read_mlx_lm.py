"""What mlx-lm's own trainer wrote, read into a row; and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
import pytest
from mlx_lm.tuner.utils import linear_to_lora_layers

from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base, load
from mlx_melpa.errors import ExportError
from mlx_melpa.exports import read, read_melpa, read_mlx_lm


def refused(what: Callable[[], Any]) -> str:
    with pytest.raises(ExportError) as caught:
        what()
    return str(caught.value)


@pytest.fixture
def trained(base: Base, tmp_path: Path) -> Path:
    """A folder that mlx-lm's own trainer wrote, with default keys, on the last two blocks."""
    from mlx.optimizers import Adam
    from mlx_lm.tuner import TrainingArgs, train
    from mlx_lm.utils import save_config

    model, _ = mlx_lm.load(str(base.folder))  # type: ignore[misc]
    model.freeze()
    parameters = {"rank": 4, "scale": 10.0, "dropout": 0.0}
    linear_to_lora_layers(model, 2, parameters)
    save_config(
        {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters}, tmp_path / "adapter_config.json"
    )
    args = TrainingArgs(batch_size=2, iters=3, max_seq_length=32, adapter_file=str(tmp_path / "adapters.safetensors"))
    train(model, Adam(learning_rate=1e-2), [([1, 5, 9, 33, 21], 0), ([1, 8, 60, 7, 3], 0)], args=args)
    return tmp_path


def test_what_mlx_lm_trained_does_the_same_here(base: Base, put: Callable[..., Adapted], trained: Path) -> None:
    found = read_mlx_lm(base, trained)
    assert (found.adapter["rank"], found.adapter["scale"], found.adapter["layers"]) == (4, 10.0, [3, 4])
    tokens = mx.array([[5, 9, 33, 21, 8, 60]])
    plain, adapted = (
        mlx_lm.load(str(base.folder), adapter_path=adapter)[0](tokens)[0] for adapter in (None, str(trained))
    )
    assert mx.abs(adapted - plain).max().item() > 0.01
    ours = put(base, **found.adapter).logits(mx.array(found.row[None]), tokens, mx.arange(6))
    assert mx.abs(ours - adapted).max().item() <= 1e-4


def rewrite(folder: Path, change: Callable[[dict[str, mx.array]], dict[str, mx.array]]) -> None:
    weights: Any = mx.load(str(folder / "adapters.safetensors"))
    mx.eval(weights)
    mx.save_safetensors(str(folder / "adapters.safetensors"), change(weights))


Q = "model.layers.4.self_attn.q_proj"
FAULTS: dict[str, Callable[[dict[str, mx.array]], dict[str, mx.array]]] = {
    f"'{Q}.m' is no LoRA factor": lambda w: w | {f"{Q}.m": mx.ones(4)},
    "'model.embed_tokens.lora_a' is no LoRA factor": lambda w: w | {"model.embed_tokens.lora_a": mx.ones((2, 2))},
    "is no LoRA factor of a linear layer in a block": lambda w: {k.replace(".4.", ".5."): v for k, v in w.items()},
    "has one factor only": lambda w: {k: v for k, v in w.items() if k != f"{Q}.lora_b"},
    "'4.self_attn.q_proj' has factors of shapes (64, 4) and (4, 65)": lambda w: w | {f"{Q}.lora_b": mx.ones((4, 65))},
    "no weights": lambda w: {},
}


@pytest.mark.parametrize("message", FAULTS)
def test_tensors_that_are_no_row(base: Base, trained: Path, message: str) -> None:
    rewrite(trained, FAULTS[message])
    assert message in refused(lambda: read_mlx_lm(base, trained))


CONFIGS = {
    '{"fine_tune_type": "dora"}': "describes 'dora' fine-tuning",
    '{"fine_tune_type": "full"}': "describes 'full' fine-tuning",
    '{"lora_parameters": {"rank": 4, "alpha": 8}}': "has the scale None",
    "[]": "is no JSON object",
    "{": "is no JSON",
}


@pytest.mark.parametrize("text", CONFIGS)
def test_configurations_that_are_refused(base: Base, trained: Path, text: str) -> None:
    (trained / "adapter_config.json").write_text(text)
    assert CONFIGS[text] in refused(lambda: read_mlx_lm(base, trained))


def test_missing_and_damaged_files(base: Base, trained: Path) -> None:
    (trained / "adapters.safetensors").write_bytes(b"nonsense")
    assert "can't be read" in refused(lambda: read(base, trained))
    (trained / "adapters.safetensors").unlink()
    assert f"there is no adapters.safetensors in {trained}" in refused(lambda: read(base, trained))
    (trained / "adapter_config.json").unlink()
    assert "give a folder that mlx-lm or melpa wrote" in refused(lambda: read(base, trained))
    assert "there is no melpa.safetensors" in refused(lambda: read_melpa(trained))
    (trained / "melpa.safetensors").write_bytes(b"nonsense")
    assert re.search(r"melpa.safetensors can't be read \(.+\); export it again", refused(lambda: read(base, trained)))
    mx.save_safetensors(str(trained / "melpa.safetensors"), {"rows": mx.ones((1, 2))}, {"format": "melpa 2"})
    assert "has format 'melpa 2', this version reads 'melpa 1'" in refused(lambda: read(base, trained))


def test_another_base_is_noticed_by_its_shapes(trained: Path) -> None:
    assert "'pocket'" in refused(lambda: read_mlx_lm(load("pocket"), trained))
