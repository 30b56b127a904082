"""Rows as files for mlx-lm, in our own format, and back."""

import json
import re
from collections.abc import Callable, Iterator
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
from mlx_melpa.errors import ExportError
from mlx_melpa.exports import KINDS as FORMATS
from mlx_melpa.exports import Meta, build, describe, named_base, read, read_melpa, read_mlx_lm
from mlx_melpa.layout import Layout, Segment

TOKENS = mx.array([[5, 9, 33, 21, 8, 60]])
Put = Callable[..., Adapted]
SITES = ["q_proj", "v_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module", params=["pocket", "stories260k", "tinystories-instruct-3m"])
def any_base(request: pytest.FixtureRequest) -> Base:
    if request.param == "pocket":
        return load("pocket")
    return load(str(request.getfixturevalue("shared") / "models" / request.param))


@pytest.fixture(scope="module")
def base(shared: Path) -> Base:
    return load(str(shared / "models" / "stories260k"))


@pytest.fixture
def put() -> Iterator[Callable[..., Adapted]]:
    there: list[Adapted] = []

    def on(base: Base, kind: str = "lora", **settings: Any) -> Adapted:
        there.append(Adapted(base, KINDS[kind](**settings)))
        return there[-1]

    yield on
    for adapted in there:
        adapted.detach()


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
    report = FORMATS["mlx-lm"](adapted, row, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["adapter_config.json", "adapters.safetensors", "out"]
    assert report.files == {p.name: p.stat().st_size for p in (tmp_path / "out").iterdir()}
    assert report.difference <= 1e-4 * report.scale and report.left_out == ()
    found, plain = theirs(any_base, tmp_path / "out"), theirs(any_base, None)
    assert np.abs(found - ours(adapted, row)).max() <= 1e-4 * np.abs(found).max()
    assert np.abs(found - plain).max() > 0.01 * np.abs(plain).max()


def test_the_files_are_those_of_mlx_lms_own_trainer(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj", "down_proj"], layers=[1, 3])
    FORMATS["mlx-lm"](adapted, stored(adapted), tmp_path / "out")
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


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("layers", ["all", 2, [0, 2]])
def test_what_is_exported_comes_back_as_the_same_row(
    base: Base, put: Put, tmp_path: Path, layers: Any, to: str
) -> None:
    adapted = put(base, rank=4, scale=3.0, sites=SITES, layers=layers)
    row = stored(adapted)
    FORMATS[to](adapted, row, tmp_path / "out")
    found = read(base, tmp_path / "out")
    assert np.array_equal(found.row, row) and found.meta.layout == adapted.layout
    assert found.meta.base["family"] == base.family
    before = ours(adapted, row)
    adapted.detach()
    assert np.array_equal(ours(put(base, **found.adapter), found.row), before)


def whole_meta(adapted: Adapted) -> Meta:
    layout = adapted.layout + Layout([Segment("readout.log_scale", (1,), ("constant", 2.3))])
    means = np.arange(6, dtype=np.float16).reshape(2, 3)
    base = {"name": "b", "family": "f", "weights": "w"}
    return Meta(
        layout, base, "0123456789abcdef", {"kind": "prototypes", "temperature": 9.0}, ("work", "Дом"), {"means": means}
    )


def test_mlx_lm_leaves_the_readout_out_and_says_so(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj"])
    row = np.append(stored(adapted), np.float32(2.5))
    report = FORMATS["mlx-lm"](adapted, row, tmp_path / "out", meta=whole_meta(adapted))
    assert report.left_out == ("readout.log_scale", "means")
    assert np.array_equal(read_mlx_lm(base, tmp_path / "out").row, row[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_melpa_keeps_the_whole_state(base: Base, put: Put, tmp_path: Path, kind: str) -> None:
    adapted = put(base, kind)
    meta = whole_meta(adapted)
    row = np.append(stored(adapted), np.float32(2.5))
    report = FORMATS["melpa"](adapted, row, tmp_path / "out", meta=meta)
    assert report.left_out == () and report.difference == 0
    found = read_melpa(tmp_path / "out")
    assert np.array_equal(found.row, row)
    assert vars(found.meta) | {"arrays": 0} == vars(meta) | {"arrays": 0}
    assert np.array_equal(found.meta.arrays["means"], meta.arrays["means"])
    assert found.meta.arrays["means"].dtype == np.float16
    assert describe(build(found.adapter)) == describe(adapted.adapter)


def test_an_export_takes_the_place_of_an_earlier_one_only(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj"])
    FORMATS["mlx-lm"](adapted, stored(adapted), tmp_path / "out")
    FORMATS["mlx-lm"](adapted, stored(adapted, 0.2), tmp_path / "out")
    assert np.array_equal(read_mlx_lm(base, tmp_path / "out").row, stored(adapted, 0.2))
    with pytest.raises(ExportError, match=r"out is there already and holds adapter_config.json; name another folder"):
        FORMATS["melpa"](adapted, stored(adapted), tmp_path / "out")
    assert np.array_equal(read_mlx_lm(base, tmp_path / "out").row, stored(adapted, 0.2))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def refused(what: Callable[[], Any]) -> str:
    with pytest.raises(ExportError) as caught:
        what()
    return str(caught.value)


def test_what_can_not_be_exported(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, rank=2, sites=["q_proj"])
    row = stored(adapted)
    write, out = FORMATS["mlx-lm"], tmp_path / "out"
    assert "changes no logit of its base" in refused(
        lambda: write(adapted, adapted.layout.draw(np.random.default_rng(0)), out)
    )
    assert "does not fit this adapter" in refused(lambda: write(adapted, row[:-1], out))
    assert "not finite" in refused(lambda: write(adapted, row * np.float32("nan"), out))
    homeless = SimpleNamespace(**{**vars(adapted), "base": SimpleNamespace(**{**vars(base), "folder": None})})
    assert "--to melpa" in refused(lambda: write(homeless, row, out, meta=Meta(adapted.layout, {})))
    adapted.detach()
    assert "a bottleneck adapter has no place in mlx-lm's files; write it with: --to melpa" in refused(
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
    assert "logits differ from ours" in refused(lambda: FORMATS["mlx-lm"](adapted, row, tmp_path / "out"))
    monkeypatch.setattr(module, "config", lambda *given: honest(*given) | {"num_layers": 1})
    assert "mlx-lm can't load what was written" in refused(lambda: FORMATS["mlx-lm"](adapted, row, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


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


def test_what_mlx_lm_trained_does_the_same_here(base: Base, put: Put, trained: Path) -> None:
    found = read_mlx_lm(base, trained)
    assert (found.adapter["rank"], found.adapter["scale"], found.adapter["layers"]) == (4, 10.0, [3, 4])
    expected, plain = theirs(base, trained), theirs(base, None)
    assert np.abs(expected - plain).max() > 0.01
    assert np.abs(ours(put(base, **found.adapter), found.row) - expected).max() <= 1e-4


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
    "[]": "describes 'None' fine-tuning",
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


def test_a_row_for_another_base_is_refused(base: Base, put: Put, tmp_path: Path) -> None:
    adapted = put(base, "bottleneck")
    FORMATS["melpa"](adapted, stored(adapted), tmp_path / "out")
    assert "does not fit this adapter of" in refused(lambda: read(load("pocket"), tmp_path / "out"))
    assert named_base(tmp_path / "out") == base.name
    assert "there is no adapter in" in refused(lambda: named_base(tmp_path))
