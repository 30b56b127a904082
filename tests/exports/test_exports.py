"""Rows as files for mlx-lm, in our own format, and back."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import mlx_lm
import numpy as np
import pytest
from mlx_lm.tuner.utils import linear_to_lora_layers

from mlx_melpa.adapters import KINDS
from mlx_melpa.backends.mlx.adapted import Adapted
from mlx_melpa.backends.mlx.model import Base, load
from mlx_melpa.core.layout import Layout, Segment
from mlx_melpa.errors import ExportError
from mlx_melpa.exports import KINDS as FORMATS
from mlx_melpa.exports import base_name, build, read, read_melpa, read_mlx_lm
from mlx_melpa.exports.common import Metadata
from mlx_melpa.exports.melpa import describe

TOKENS = mx.array([[5, 9, 33, 21, 8, 60]])
Put = Callable[..., Adapted]
SITES = ["q_proj", "v_proj", "up_proj", "down_proj"]


MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "vocab_size": 6144,
}


def saved(name: str, folder: Path) -> Base:
    """The embedded base in 4 bits, or a tiny mixture of experts with its tokenizer, as mlx-lm saves them."""
    from mlx_lm.models.mixtral import Model, ModelArgs
    from mlx_lm.utils import quantize_model, save

    from mlx_melpa.backends.checkpoints import POCKET

    model, tokenizer, config = mlx_lm.load(str(POCKET), return_config=True)  # type: ignore[misc]
    if name == "mixtral":
        mx.random.seed(0)
        model, config = Model(ModelArgs.from_dict(MIXTRAL)), MIXTRAL
    else:
        model, config = quantize_model(model, config, group_size=64, bits=4)
    save(folder, str(POCKET), model, tokenizer, config)
    return load(str(folder))


@pytest.fixture(scope="module", params=["pocket", "pocket-4bit", "mixtral", "stories260k", "tinystories-instruct-3m"])
def any_base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    name = request.param
    if name == "pocket":
        return load(name)
    if name in ("pocket-4bit", "mixtral"):
        return saved(name, tmp_path_factory.mktemp(name))
    return load(str(request.getfixturevalue("shared") / "models" / name))


def stored(adapted: Adapted, scale: float = 0.1) -> np.ndarray:
    """A row as the store gives it: rounded to half precision."""
    row = np.random.default_rng(3).normal(0, scale, adapted.layout.size)
    return row.astype(np.float16).astype(np.float32)


def ours(adapted: Adapted, row: np.ndarray) -> np.ndarray:
    return np.array(adapted.logits(mx.array(row[None]), TOKENS, mx.arange(TOKENS.size)))


def theirs(base: Base, adapter: Path | None) -> np.ndarray:
    model: Any = mlx_lm.load(str(base.folder), adapter_path=adapter and str(adapter))[0]
    model.set_dtype(mx.float32)
    return np.array(model(TOKENS)[0])


@pytest.mark.parametrize("layers", ["all", 1, [0, 2]])
def test_mlx_lm_loads_the_files_with_our_logits(any_base: Base, put: Put, tmp_path: Path, layers: Any) -> None:
    adapted = put(any_base, rank=4, scale=3.0, sites=["*"], layers=layers)
    row = stored(adapted)
    report = FORMATS["mlx-lm"].write(adapted, row, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["adapter_config.json", "adapters.safetensors", "out"]
    assert report.files == {p.name: p.stat().st_size for p in (tmp_path / "out").iterdir()}
    assert report.difference <= 1e-4 * report.scale and report.left_out == ()
    found, plain = theirs(any_base, tmp_path / "out"), theirs(any_base, None)
    assert np.abs(found - ours(adapted, row)).max() <= 1e-4 * np.abs(found).max()
    assert np.abs(found - plain).max() > 0.01 * np.abs(plain).max()


def test_the_files_are_those_of_mlx_lms_own_trainer(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj", "down_proj"], layers=[1, 3])
    FORMATS["mlx-lm"].write(adapted, stored(adapted), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["fine_tune_type"], config["num_layers"]) == ("lora", 4)
    keys = ["mlp.down_proj", "self_attn.q_proj"]
    assert config["lora_parameters"] == {"rank": 2, "scale": 2.0, "dropout": 0.0, "keys": keys}
    weights: Any = mx.load(str(tmp_path / "out" / "adapters.safetensors"))
    model: Any = mlx_lm.load(str(base.folder))[0]
    model.freeze()
    linear_to_lora_layers(model, config["num_layers"], config["lora_parameters"])
    from mlx.utils import tree_flatten

    expected = {name: value.shape for name, value in tree_flatten(model.trainable_parameters())}
    assert {name: value.shape for name, value in weights.items()} == expected
    acting = {name for name, value in weights.items() if name.endswith("lora_b") and mx.any(value != 0).item()}
    assert acting == {f"model.layers.{layer}.{key}.lora_b" for layer in (1, 3) for key in keys}


@pytest.mark.parametrize("to", ["mlx-lm", "melpa"])
@pytest.mark.parametrize("layers", ["all", 2, [0, 2]])
def test_what_is_exported_comes_back_as_the_same_row(
    base: Base, put: Put, tmp_path: Path, layers: Any, to: str
) -> None:
    adapted = put(base, rank=4, scale=3.0, sites=SITES, layers=layers)
    row = stored(adapted)
    FORMATS[to].write(adapted, row, tmp_path / "out")
    found = read(base, tmp_path / "out")
    assert np.array_equal(found.row, row) and found.metadata.layout == adapted.layout
    assert found.metadata.base["family"] == base.family
    before = ours(adapted, row)
    adapted.detach()
    assert np.array_equal(ours(put(base, **found.adapter), found.row), before)


def whole_metadata(adapted: Adapted) -> Metadata:
    layout = adapted.layout + Layout([Segment("readout.log_scale", (1,), ("constant", 2.3))])
    means = np.arange(6, dtype=np.float16).reshape(2, 3)
    base = {"name": "b", "family": "f", "weights": "w"}
    return Metadata(
        layout, base, "0123456789abcdef", {"kind": "prototypes", "temperature": 9.0}, ("work", "Дом"), {"means": means}
    )


def test_mlx_lm_leaves_the_readout_out_and_says_so(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj"])
    row = np.append(stored(adapted), np.float32(2.5))
    report = FORMATS["mlx-lm"].write(adapted, row, tmp_path / "out", metadata=whole_metadata(adapted))
    assert report.left_out == ("readout.log_scale", "means")
    assert np.array_equal(read_mlx_lm(base, tmp_path / "out").row, row[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_melpa_keeps_the_whole_state(base: Base, put: Put, tmp_path: Path, kind: str) -> None:
    adapted = put(base, kind)
    metadata = whole_metadata(adapted)
    row = np.append(stored(adapted), np.float32(2.5))
    report = FORMATS["melpa"].write(adapted, row, tmp_path / "out", metadata=metadata)
    assert report.left_out == () and report.difference == 0
    found = read_melpa(tmp_path / "out")
    assert np.array_equal(found.row, row)
    assert vars(found.metadata) | {"arrays": 0} == vars(metadata) | {"arrays": 0}
    assert np.array_equal(found.metadata.arrays["means"], metadata.arrays["means"])
    assert found.metadata.arrays["means"].dtype == np.float16
    assert describe(build(found.adapter)) == describe(adapted.adapter)


def test_an_export_takes_the_place_of_an_earlier_one_only(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj"])
    FORMATS["mlx-lm"].write(adapted, stored(adapted), tmp_path / "out")
    FORMATS["mlx-lm"].write(adapted, stored(adapted, 0.2), tmp_path / "out")
    assert np.array_equal(read_mlx_lm(base, tmp_path / "out").row, stored(adapted, 0.2))
    with pytest.raises(ExportError, match=r"out is there already and holds adapter_config.json; name another folder"):
        FORMATS["melpa"].write(adapted, stored(adapted), tmp_path / "out")
    assert np.array_equal(read_mlx_lm(base, tmp_path / "out").row, stored(adapted, 0.2))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def refused(what: Callable[[], Any]) -> str:
    with pytest.raises(ExportError) as caught:
        what()
    return str(caught.value)


def test_what_can_not_be_exported(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj"])
    row = stored(adapted)
    write, out = FORMATS["mlx-lm"].write, tmp_path / "out"
    assert "changes no logit of its base" in refused(
        lambda: write(adapted, adapted.layout.draw(np.random.default_rng(0)), out)
    )
    assert "does not fit this adapter" in refused(lambda: write(adapted, row[:-1], out))
    assert "not finite" in refused(lambda: write(adapted, row * np.float32("nan"), out))
    homeless = SimpleNamespace(**{**vars(adapted), "base": SimpleNamespace(**{**vars(base), "folder": None})})
    assert "--to melpa" in refused(lambda: write(homeless, row, out, metadata=Metadata(adapted.layout, {})))
    adapted.detach()
    assert "mlx-lm has no place for a bottleneck adapter; write it with: --to melpa" in refused(
        lambda: write(bottle := put(base, "bottleneck"), stored(bottle), out)
    )
    assert list(tmp_path.iterdir()) == []


def test_files_that_do_something_else_in_mlx_lm_are_not_left_behind(
    base: Base, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    import mlx_melpa.exports.mlx_lm  # noqa: F401

    module = sys.modules["mlx_melpa.exports.mlx_lm"]
    adapted = put(base, rank=2, sites=["q_proj"])
    row = stored(adapted)
    honest = module.config

    def louder(*given: Any) -> Any:
        told = honest(*given)
        return told | {"lora_parameters": told["lora_parameters"] | {"scale": 4.0}}

    monkeypatch.setattr(module, "config", louder)
    assert "logits differ from ours" in refused(lambda: FORMATS["mlx-lm"].write(adapted, row, tmp_path / "out"))
    monkeypatch.setattr(module, "config", lambda *given: honest(*given) | {"num_layers": 1})
    assert "mlx-lm can't load what was written" in refused(
        lambda: FORMATS["mlx-lm"].write(adapted, row, tmp_path / "out")
    )
    assert list(tmp_path.iterdir()) == []


def test_a_row_for_another_base_is_refused(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, "bottleneck")
    FORMATS["melpa"].write(adapted, stored(adapted), tmp_path / "out")
    assert "does not fit this adapter of" in refused(lambda: read(load("pocket"), tmp_path / "out"))
    assert base_name(tmp_path / "out") == base.name
    assert "there is no adapter in" in refused(lambda: base_name(tmp_path))
    (tmp_path / "adapter_config.json").write_text("[]")
    assert "is no JSON object" in refused(lambda: base_name(tmp_path))
